from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.tracking import StoreUnreachable, TrackingSettings, deliver, prepare
from bench.tracking.politeness import polite_mlflow
from bench.tracking.store import Store


def test_importing_the_package_does_not_import_mlflow():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, bench.tracking; sys.exit('mlflow' in sys.modules)"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=240,
    )
    assert done.returncode == 0


def test_processes_that_start_at_once_share_one_database_one_experiment_one_run(
    run, tmp_path, settings, seen_in, in_child, capfd
):
    for step in range(1, 200):
        run.log(step)
    run.end("FINISHED")
    uri = f"sqlite:///{tmp_path}/fresh/mlflow.db"
    go = time.monotonic() + 0.3

    def prepare_and_deliver() -> None:
        time.sleep(max(0.0, go - time.monotonic()))
        fresh = prepare(TrackingSettings(uri=uri, experiment="at once"))
        assert deliver(run.folder, fresh, wait_s=200).is_complete

    children = [in_child(prepare_and_deliver) for _ in range(3)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert capfd.readouterr() == ("", "")  # MLflow is silent too
    assert codes == [0, 0, 0]
    assert seen_in(TrackingSettings(uri=uri, experiment="at once")).steps() == list(range(1, 200))


def test_prepare_gives_an_address_that_holds_anywhere(settings, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path / "store")
    ready = prepare(replace(settings, uri="sqlite:///mlflow.db"))
    assert ready.uri == f"sqlite:///{tmp_path}/store/mlflow.db"


def test_artifacts_lie_beside_the_database_wherever_the_process_runs(run, settings, seen, tmp_path):
    deliver(run.folder, settings)
    assert Path(seen.run().info.artifact_uri).is_relative_to(tmp_path / "store" / "mlruns")


def test_unusable_database_is_the_users_to_repair(tmp_path):
    (tmp_path / "mlflow.db").write_text(
        "this is no database, but long enough to be looked at by SQLite " * 20
    )
    expected = (
        f"MLflow at sqlite:///{tmp_path}/mlflow.db cannot be used (file is not a database); free or repair "
        "it, set MLFLOW_TRACKING_URI to another store, or run with tracking.enabled=false"
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        prepare(TrackingSettings(uri=f"sqlite:///{tmp_path}/mlflow.db"))


def test_deleted_experiment_is_refused_before_anything_runs(settings, seen):
    experiment = seen.client.get_experiment_by_name("faces").experiment_id
    seen.client.delete_experiment(experiment)
    expected = (
        f"MLflow at {settings.uri}: the experiment 'faces' was deleted there; restore it with "
        f"'mlflow experiments restore -x {experiment}' or choose another with tracking.experiment=NAME"
    )
    from bench.tracking import store

    store._open.clear()  # as in a new process
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        prepare(settings)


def test_missing_driver_says_what_to_install():
    with pytest.raises(UserError, match=r"needs the Python package .*; pip install 'faceloss-bench"):
        prepare(TrackingSettings(uri="mysql+mysqlconnector://u:p@127.0.0.1/x"))


def test_unknown_driver_is_one_line_without_the_password():
    with pytest.raises(UserError, match=r"postgresql\+nosuch") as caught:
        prepare(TrackingSettings(uri="postgresql+nosuch://u:secret@127.0.0.1/x"))
    assert "secret" not in str(caught.value)


def test_old_file_store_is_said_and_passed_over(tmp_path, monkeypatch, empty_database, caplog):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").touch()
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert prepare(TrackingSettings()).uri == uri
    assert caplog.messages == [
        f"{tmp_path}/mlruns holds an old file store, which MLflow no longer opens; the runs go to {uri}; "
        f"see them with: mlflow ui --backend-store-uri {uri}"
    ]


def test_server_that_is_down_is_a_warning_within_seconds(caplog):
    uri = f"http://ada:secret@127.0.0.1:{_free_port()}"
    started = time.monotonic()
    prepare(TrackingSettings(uri=uri))
    assert time.monotonic() - started < 60
    (message,) = caplog.messages
    assert message == (
        f"MLflow at {uri.replace('ada:secret', '***')} cannot be reached (connection refused); runs go on, "
        "their metrics wait in the run folders; deliver them later with: bench track sync"
    )


def test_server_that_never_answers_is_a_warning_after_the_time_limit(caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        prepare(TrackingSettings(uri=uri))
    assert time.monotonic() - started < 60
    assert caplog.messages[0].startswith(f"MLflow at {uri} cannot be reached (no answer); runs go on")


def test_mlflow_is_left_as_it_was_found(settings, monkeypatch):
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "PGCONNECT_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    before = dict(os.environ)
    with polite_mlflow():
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"  # the user's own choice
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert dict(os.environ) == before


def test_only_our_own_calls_are_silent(capsys):
    spoken = logging.getLogger("mlflow.tracking")
    with polite_mlflow():
        spoken.warning("chatter")
        other = threading.Thread(target=spoken.warning, args=("the user's own",))
        other.start()
        other.join()
    spoken.warning("afterwards")
    shown = capsys.readouterr().err
    assert "chatter" not in shown
    assert "the user's own" in shown
    assert "afterwards" in shown


def test_user_who_sets_mlflows_log_level_hears_it(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "INFO")
    with polite_mlflow():
        logging.getLogger("mlflow.tracking").warning("chatter")
    assert "chatter" in capsys.readouterr().err


def test_forked_process_delivers_by_connections_of_its_own(make_run, settings, seen, in_child):
    first, second = make_run("first"), make_run("second")
    deliver(first.folder, settings)
    child = in_child(lambda: deliver(second.folder, settings))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    first.log(1)
    first.checkpoint()
    deliver(first.folder, settings)
    assert len(seen.runs()) == 2


def test_process_forked_amid_a_delivery_can_deliver(make_run, settings, seen, in_child, monkeypatch):
    first, second = make_run("first"), make_run("second")
    inside, go_on = threading.Event(), threading.Event()
    upload = Store.upload

    def wait_and_upload(*arguments):
        inside.set()
        go_on.wait(200)
        upload(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "upload", wait_and_upload)
        thread = threading.Thread(target=deliver, args=(first.folder, settings))
        thread.start()
        inside.wait(200)
    child = in_child(lambda: deliver(second.folder, settings))
    assert _exit_code(child, 100) == 0
    go_on.set()
    thread.join(200)
    assert len(seen.runs()) == 2


def _exit_code(child: int, timeout_s: float) -> int | None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    return None


def test_unreachable_postgresql_does_not_cost_mlflows_hundred_seconds(run):
    pytest.importorskip("psycopg", reason="needs psycopg (pip install 'faceloss-bench[services]')")
    uri = f"postgresql+psycopg://ada:secret@127.0.0.1:{_free_port()}/x"
    started = time.monotonic()
    with pytest.raises(StoreUnreachable, match="cannot be reached") as caught:
        deliver(run.folder, TrackingSettings(uri=uri))
    assert time.monotonic() - started < 60
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
