from __future__ import annotations

import math
import os
import socket
import threading
import time
from dataclasses import replace

import pytest

from bench.tracking import (
    Deliverer,
    StoreUnreachable,
    TrackingRefused,
    TrackingSettings,
    deliver,
    prepare,
    sync,
)


def test_finished_run_is_whole_on_the_server(run, server, seen_in, capfd):
    settings = replace(prepare(server.settings("whole")), upload_checkpoint=True)
    for step in range(1, 201):
        run.log(step)
    run.log(201, {"train/loss": math.nan, "train/rate": math.inf})
    run.write_artifacts()
    run.end("FINISHED", steps=201)
    first = deliver(run.folder, settings)
    assert first.is_complete
    assert deliver(run.folder, settings).num_points == 0
    assert capfd.readouterr() == ("", "")  # no "View run at ..."
    seen = seen_in(settings)
    assert seen.steps() == list(range(1, 202))
    assert math.isnan(seen.run().data.metrics["train/loss"])
    assert seen.run().info.status == "FINISHED"
    assert seen.run().data.params["schedule.steps"] == "{0: 0.1, 150: 0.01}"
    assert seen.artifacts() == [
        "checkpoints/step-00000010.pt",
        "config.yaml",
        "figures/rendered_roc.png",
        "pairs.npz",
        "record.json",
    ]


def test_lost_offset_file_makes_no_double_on_the_server(run, server, seen_in):
    settings = server.settings("lost")
    for step in range(1, 51):
        run.log(step, {"train/loss": math.nan if step % 7 == 0 else 1 / step})
    run.checkpoint()
    deliver(run.folder, settings)
    run.folder.tracking.unlink()
    run.end("FINISHED")
    deliver(run.folder, settings)
    assert seen_in(settings).steps() == list(range(1, 51))


def test_server_killed_while_a_run_goes_on_gets_the_backlog_afterwards(run, server, seen_in, tmp_path):
    settings = prepare(server.settings("killed between"))
    with Deliverer(settings, interval_s=0.1, report=lambda problem: None) as deliverer:
        deliverer.watch(run.folder)
        for step in range(1, 21):
            run.log(step)
        run.checkpoint()
        _wait_until(
            lambda: run.folder.tracking.exists() and '"offset": 0' not in run.folder.tracking.read_text()
        )
        server.kill()
        for step in range(21, 41):
            run.log(step)
        run.checkpoint()
        _wait_until(lambda: deliverer.problems != [])
        run.end("FINISHED", steps=40)
    assert deliverer.problems[0].startswith(
        f"MLflow at {server.uri} cannot be reached (connection refused); the run goes on, its metrics "
    )
    assert "deliver it later with: bench track sync" in deliverer.problems[-1]
    server.start()
    (result,) = sync(tmp_path / "runs", settings)
    assert result.delivery.is_complete
    seen = seen_in(settings)
    assert seen.steps() == list(range(1, 41))
    assert seen.run().info.status == "FINISHED"


def test_server_killed_in_the_middle_of_a_delivery_loses_nothing_and_doubles_nothing(run, server, seen_in):
    settings = prepare(server.settings("killed within"))
    for step in range(1, 3001):
        run.log(step, {f"m{number}": step + number / 10 for number in range(10)})
    run.end("FINISHED", steps=3000)
    sent = threading.Event()
    killer = threading.Thread(target=lambda: (sent.wait(60), time.sleep(0.05), server.kill()))
    killer.start()
    answers = []

    def alive(allowance_s: float) -> None:
        answers.append(allowance_s)
        if len(answers) == 10:  # some calls into the metrics
            sent.set()

    with pytest.raises(StoreUnreachable):
        deliver(run.folder, settings, alive=alive)
    killer.join()
    assert 0 < _delivered_bytes(run) < run.folder.metrics.stat().st_size
    server.start()
    delivery = deliver(run.folder, settings)
    assert delivery.is_complete
    assert delivery.num_points < 30_000  # it went on where it was
    seen = seen_in(settings)
    assert len(seen.runs()) == 1
    for metric in ("m0", "m9"):
        assert seen.steps(metric) == list(range(1, 3001))


def test_server_down_at_the_start_gets_all_of_it_later(run, server, seen_in, tmp_path, caplog):
    server.kill()
    try:
        started = time.monotonic()
        settings = prepare(server.settings("down at start"))
        assert time.monotonic() - started < 10
        with Deliverer(settings, interval_s=0.1) as deliverer:
            deliverer.watch(run.folder)
            run.log(1)
            run.end("FINISHED")
    finally:
        server.start()
    assert len(deliverer.problems) == 1  # that it is down was said by `prepare`; this is the backlog
    assert len(caplog.messages) == 2
    (result,) = sync(tmp_path / "runs", settings)
    assert result.problem is None
    assert seen_in(settings).steps() == [1]


def test_processes_that_start_at_once_share_one_experiment_and_one_run(run, server, seen_in, in_child):
    settings = server.settings("at once")
    for step in range(1, 101):
        run.log(step)
    run.end("FINISHED")
    go = time.monotonic() + 0.3

    def prepare_and_deliver() -> None:
        time.sleep(max(0.0, go - time.monotonic()))
        assert deliver(run.folder, prepare(settings), wait_s=60).is_complete

    children = [in_child(prepare_and_deliver) for _ in range(3)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0, 0]
    assert seen_in(settings).steps() == list(range(1, 101))


def test_run_deleted_on_the_server_is_not_made_again(run, server, seen_in):
    settings = server.settings("deleted")
    run_id = deliver(run.folder, settings).run_id
    seen_in(settings).client.delete_run(run_id)
    with pytest.raises(TrackingRefused, match="was deleted in MLflow"):
        deliver(run.folder, settings)


def test_server_that_never_answers_delays_the_end_by_fifteen_seconds_at_most(run):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = TrackingSettings(uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with Deliverer(settings, report=lambda problem: None) as deliverer:
            deliverer.watch(run.folder)
            run.end("FINISHED")
            started = time.monotonic()
        took_s = time.monotonic() - started
    assert took_s < 17
    deliverer._thread.join(30)  # its request ends as the socket is closed, or by its own time limit
    assert not deliverer._thread.is_alive()
    (problem,) = deliverer.problems  # what the thread met after that is not told as well
    assert f"MLflow at {settings.uri} cannot be reached (no answer in 15 s)" in problem


def _delivered_bytes(run) -> int:
    from bench.tracking.progress import Ledger

    (progress,) = Ledger.model_validate_json(run.folder.tracking.read_bytes()).stores.values()
    return progress.offset


def _wait_until(condition, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
