from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable

import pytest
from filelock import FileLock

from bench.errors import UserError
from bench.tracking import Deliverer, TrackingSettings
from bench.tracking import deliverer as deliverer_module


def test_metrics_arrive_while_the_run_goes_on_and_the_rest_as_it_ends(run, settings, seen):
    with Deliverer(settings, interval_s=0.05) as deliverer:
        deliverer.watch(run.folder)
        run.log(1)
        run.checkpoint()
        _wait_until(lambda: len(seen.runs()) == 1 and seen.steps() == [1])
        assert seen.run().info.status == "RUNNING"
        run.log(2)
        run.end("FINISHED")
    assert deliverer.problems == []
    assert seen.steps() == [1, 2]
    assert seen.run().info.status == "FINISHED"


def test_short_run_is_delivered_as_the_block_ends(run, settings, seen):
    with Deliverer(settings) as deliverer:
        deliverer.watch(run.folder)
        run.log(1)
        run.end("FINISHED")
    assert seen.steps() == [1]


def test_run_that_fails_is_closed_in_mlflow_and_its_error_goes_on(run, settings, seen):
    with pytest.raises(ZeroDivisionError), Deliverer(settings) as deliverer:
        deliverer.watch(run.folder)
        run.log(1)
        run.end("FAILED", "ZeroDivisionError: x")
        raise ZeroDivisionError
    assert seen.run().info.status == "FAILED"
    assert seen.run().data.tags["error"] == "ZeroDivisionError: x"


def test_nothing_is_asked_of_the_store_while_nothing_happens(run, settings, monkeypatch):
    passes = []
    real = deliverer_module.deliver

    def counting(*arguments, **options):
        passes.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(deliverer_module, "deliver", counting)
    with Deliverer(settings, interval_s=0.01) as deliverer:
        deliverer.watch(run.folder)
        _wait_until(lambda: len(passes) == 1)
        time.sleep(0.2)
        assert len(passes) == 1
        run.checkpoint()
        _wait_until(lambda: len(passes) == 2)
    assert len(passes) == 2


def test_folder_of_an_earlier_attempt_is_followed_into_the_next(run, settings, seen):
    run.log(1)
    run.checkpoint()
    run.end("KILLED")
    with Deliverer(settings, interval_s=0.02) as deliverer:
        deliverer.watch(run.folder)
        _wait_until(lambda: len(seen.runs()) == 1 and seen.run().info.status == "KILLED")
        run.resume()
        run.log(2)
        run.end("FINISHED")
    assert seen.run().info.status == "FINISHED"
    assert seen.steps() == [1, 2]


def test_several_runs_are_delivered_by_one(make_run, settings, seen):
    with Deliverer(settings, interval_s=0.02) as deliverer:
        for number in range(3):
            run = make_run(f"run-{number}")
            deliverer.watch(run.folder)
            run.log(number + 1)
            run.end("FINISHED")
    assert sorted(shown.info.run_name for shown in seen.runs()) == ["run-0", "run-1", "run-2"]
    assert {shown.info.status for shown in seen.runs()} == {"FINISHED"}


def test_server_that_is_down_is_said_at_once_and_at_the_end(run):
    uri = f"http://ada:secret@127.0.0.1:{_free_port()}"
    heard: list[str] = []
    with Deliverer(TrackingSettings(uri=uri), interval_s=0.05, report=heard.append) as deliverer:
        deliverer.watch(run.folder)
        _wait_until(lambda: len(heard) == 1)
        run.log(1)
        run.end("FINISHED")
        started = time.monotonic()
    assert time.monotonic() - started < 60  # MLflow's own patience is longer
    store = f"MLflow at {uri.replace('ada:secret', '***')} cannot be reached (connection refused)"
    folder = run.folder.path
    assert heard == [
        f"{store}; the run goes on, its metrics wait in {folder}; deliver them later with: bench track sync",
        f"{store}; what is not delivered waits in {folder}; deliver it later with: bench track sync",
    ]
    assert deliverer.problems == heard


def test_several_waiting_runs_are_counted(make_run, caplog):
    settings = TrackingSettings(uri=f"http://127.0.0.1:{_free_port()}")
    with Deliverer(settings) as deliverer:
        for name in ("a", "b", "c"):
            deliverer.watch(make_run(name).folder)
    (message,) = caplog.messages  # without `report` it is a warning
    assert message.endswith("runs/a and 2 more; deliver it later with: bench track sync")


def test_server_that_never_answers_does_not_keep_the_block_from_ending(run, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = TrackingSettings(uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with Deliverer(settings, patience_s=0.5, report=lambda problem: None) as deliverer:
            deliverer.watch(run.folder)
            started = time.monotonic()
        assert time.monotonic() - started < 40
        assert deliverer.problems == [
            f"MLflow at {settings.uri} cannot be reached (no answer in 0.5 s); what is not delivered "
            f"waits in {run.folder.path}; deliver it later with: bench track sync"
        ]
    deliverer._thread.join(10)  # its connection is closed now: leave nothing behind for the next test


def test_slow_store_that_answers_is_waited_for(run, settings, seen, monkeypatch):
    from bench.tracking.store import Store

    sent = Store.log_metrics

    def slowly(*arguments):
        time.sleep(0.5)
        sent(*arguments)

    monkeypatch.setattr(Store, "log_metrics", slowly)
    monkeypatch.setattr("bench.tracking.delivery._POINTS_PER_CALL", 2)
    with Deliverer(settings, patience_s=3.0) as deliverer:
        deliverer.watch(run.folder)
        for step in range(1, 9):
            run.log(step)
        run.end("FINISHED")
        started = time.monotonic()
    assert time.monotonic() - started > 3.0  # longer than the patience for one answer
    assert deliverer.problems == []
    assert seen.steps() == list(range(1, 9))


def test_store_that_comes_back_gets_the_backlog(run, settings, seen, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="bench.tracking")
    is_down = threading.Event()
    is_down.set()
    from mlflow import MlflowClient

    real = MlflowClient.search_runs

    def search(*arguments, **options):
        if is_down.is_set():
            raise ConnectionRefusedError
        return real(*arguments, **options)

    monkeypatch.setattr(MlflowClient, "search_runs", search)
    with Deliverer(settings, interval_s=0.05) as deliverer:
        deliverer.watch(run.folder)
        run.log(1)
        run.checkpoint()
        _wait_until(lambda: deliverer.problems != [])
        is_down.clear()
        _wait_until(lambda: any("answers again" in message for message in caplog.messages))
        run.end("FINISHED")
    assert len(deliverer.problems) == 1
    assert seen.steps() == [1]


def test_one_dropped_connection_is_no_news(run, settings, seen, monkeypatch):
    from mlflow import MlflowClient

    real, calls = MlflowClient.search_runs, []

    def search(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionResetError
        return real(*arguments, **options)

    monkeypatch.setattr(MlflowClient, "search_runs", search)
    monkeypatch.setattr(deliverer_module, "_SECOND_TRY_S", 0.01)
    with Deliverer(settings) as deliverer:
        deliverer.watch(run.folder)
        run.log(1)
        run.end("FINISHED")
    assert deliverer.problems == []
    assert seen.steps() == [1]


def test_bug_is_seen_and_does_not_reach_the_training(run, settings, monkeypatch, caplog):
    def broken(*arguments, **options):
        raise KeyError("oops")

    monkeypatch.setattr(deliverer_module, "deliver", broken)
    with Deliverer(settings, interval_s=0.02) as deliverer:
        deliverer.watch(run.folder)
        _wait_until(lambda: deliverer.problems != [])
        time.sleep(0.1)
    assert deliverer.problems == [
        f"{run.folder.path}: delivery to MLflow failed by a bug in bench.tracking (KeyError: 'oops'); the "
        "run goes on; try again with: bench track sync"
    ]
    tracebacks = [entry for entry in caplog.records if entry.exc_info]
    assert len(tracebacks) == 2  # when it happened, and at the last try; not every round


def test_refusal_is_said_once(run, settings, seen):
    with Deliverer(settings, interval_s=0.02) as deliverer:
        deliverer.watch(run.folder)
        _wait_until(lambda: len(seen.runs()) == 1)
        seen.client.delete_run(seen.run().info.run_id)
        run.log(1)
        run.checkpoint()
        _wait_until(lambda: deliverer.problems != [])
    (problem,) = deliverer.problems
    assert "was deleted in MLflow" in problem


def test_folder_that_another_process_keeps_is_said(run, settings, monkeypatch):
    monkeypatch.setattr(deliverer_module, "_BUSY_WAIT_S", 0.05)
    with (
        FileLock(run.folder.path / "tracking.lock"),
        Deliverer(settings, report=lambda text: None) as deliverer,
    ):
        deliverer.watch(run.folder)
        run.end("FINISHED")
    assert deliverer.problems == [
        f"{run.folder.path}: another process is delivering this run to MLflow; make sure of the rest with: "
        "bench track sync"
    ]


def test_malformed_address_is_refused_before_the_block():
    with pytest.raises(UserError, match="did you mean 'http'"):
        Deliverer(TrackingSettings(uri="htp://127.0.0.1"))


def test_thread_has_a_name_and_ends_with_the_block(settings):
    with Deliverer(settings):
        (thread,) = [one for one in threading.enumerate() if one.name == "bench-tracking"]
        assert thread.daemon
    assert not thread.is_alive()


def _wait_until(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
