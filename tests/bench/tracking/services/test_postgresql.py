from __future__ import annotations

import os
import socket
import time

from bench.tracking import TrackingSettings, deliver, prepare


def test_processes_that_start_at_once_share_one_fresh_database(
    run, postgres, seen_in, in_child, capfd, tmp_path
):
    for step in range(1, 101):
        run.log(step)
    run.end("FINISHED")
    settings = TrackingSettings(uri=postgres.database("direct"), experiment="direct")
    go = time.monotonic() + 0.3

    def prepare_and_deliver() -> None:
        os.chdir(tmp_path)  # artifacts go there: a database has no place for files
        time.sleep(max(0.0, go - time.monotonic()))
        assert deliver(run.folder, prepare(settings), wait_s=60).is_complete

    prepare(TrackingSettings(uri=f"sqlite:///{tmp_path}/warm.db"))  # imports, for all children
    children = [in_child(prepare_and_deliver) for _ in range(3)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert capfd.readouterr() == ("", "")
    assert codes == [0, 0, 0]
    seen = seen_in(settings)
    assert seen.steps() == list(range(1, 101))
    assert "s3cret" not in run.folder.tracking.read_text()
    assert not any("s3cret" in value for value in seen.run().data.tags.values())


def test_wrong_password_is_one_line_without_it(postgres, caplog):
    uri = postgres.uri.replace("s3cret", "wr0ng")
    prepare(TrackingSettings(uri=uri))
    (message,) = caplog.messages
    assert "password authentication failed" in message
    assert "wr0ng" not in message
    assert "\n" not in message


def test_database_that_never_answers_is_given_up_within_seconds(caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        prepare(TrackingSettings(uri=f"postgresql+psycopg://u:p@127.0.0.1:{silent.getsockname()[1]}/x"))
    assert time.monotonic() - started < 12
    (message,) = caplog.messages
    assert "cannot be reached" in message
