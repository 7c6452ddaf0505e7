from __future__ import annotations

import os
import re
import socket

import pytest
from filelock import FileLock

from bench.errors import UserError
from bench.results import RunFolder
from bench.tracking import SyncResult, TrackingSettings, close_abandoned, sync


def _abandon(run) -> None:
    """Its process dies: state.json keeps saying RUNNING."""
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    run.folder.write_state(run.state.model_copy(update={"pid": gone, "process_start": 12345}))
    os.utime(run.folder.path / "state.json", (1_700_000_000, 1_700_000_000))
    os.utime(run.folder.metrics, (1_700_000_060, 1_700_000_060))


def test_backlog_is_delivered(make_run, settings, seen, tmp_path):
    for name in ("a", "b"):
        run = make_run(name)
        run.log(1)
        run.end("FINISHED")
    results = sync(tmp_path / "runs", settings)
    assert [(result.folder.name, result.problem) for result in results] == [("a", None), ("b", None)]
    assert all(result.delivery.is_complete for result in results)
    assert len(seen.runs()) == 2
    assert [result.delivery.num_points for result in sync(tmp_path / "runs", settings)] == [0, 0]


def test_abandoned_run_is_closed_at_its_last_sign_of_life_and_delivered(run, settings, seen, tmp_path):
    run.log(1)
    run.checkpoint()
    run.log(2)
    _abandon(run)
    (result,) = sync(tmp_path / "runs", settings)
    assert result.was_closed
    state = run.folder.state()
    assert (state.state, state.ended_at) == ("KILLED", "2023-11-14T22:14:20.000+00:00")
    assert re.fullmatch(r"process \d+ is gone", state.error)
    shown = seen.run()
    assert shown.info.status == "KILLED"
    assert shown.info.end_time == 1_700_000_060_000
    assert shown.data.tags["error"] == state.error
    assert seen.steps() == [1]


def test_run_that_lives_stays_running(run, settings, seen, tmp_path):
    (result,) = sync(tmp_path / "runs", settings)
    assert not result.was_closed
    assert seen.run().info.status == "RUNNING"


def test_abandoned_run_that_is_being_resumed_is_left_alone(run):
    _abandon(run)
    with FileLock(run.folder.path / "run.lock"):
        assert not close_abandoned(run.folder)
    assert run.folder.state().state == "RUNNING"


def test_run_of_another_machine_is_left_alone(run):
    _abandon(run)
    run.folder.write_state(run.folder.state().model_copy(update={"host": "elsewhere"}))
    assert not close_abandoned(run.folder)


def test_folder_without_state_is_not_abandoned(tmp_path):
    assert not close_abandoned(RunFolder(tmp_path))


def test_store_that_is_away_is_asked_once_and_abandoned_runs_are_closed_all_the_same(make_run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
    for name in ("a", "b"):
        _abandon(make_run(name))
    results = sync(tmp_path / "runs", TrackingSettings(uri=uri))
    assert results == [
        SyncResult(
            tmp_path / "runs" / name,
            None,
            True,
            f"MLflow at {uri} cannot be reached (connection refused); {tmp_path}/runs/{name} waits; try "
            "again when it is back",
        )
        for name in ("a", "b")
    ]


def test_damaged_run_does_not_keep_the_others_back(make_run, settings, seen, tmp_path):
    make_run("a").folder.config.write_text("a: [")
    make_run("b").end("FINISHED")
    first, second = sync(tmp_path / "runs", settings)
    assert first.problem.startswith(f"{tmp_path}/runs/a/config.yaml: not YAML: ")
    assert second.problem is None


def test_damaged_record_does_not_keep_the_others_back(make_run, settings, tmp_path):
    run = make_run("a")
    run.end("FINISHED")
    (run.folder.path / "record.json").write_text("{}")
    make_run("b").end("FINISHED")
    first, second = sync(tmp_path / "runs", settings)
    assert first.problem.startswith(f"{tmp_path}/runs/a/record.json: damaged, or of another version (")
    assert second.problem is None


def test_damaged_state_does_not_keep_the_others_back(make_run, settings, tmp_path):
    (make_run("a").folder.path / "state.json").write_text('{"state": "RUNN')
    make_run("b").end("FINISHED")
    first, second = sync(tmp_path / "runs", settings)
    assert first.problem.startswith(f"{tmp_path}/runs/a/state.json: damaged, or of another version (JSON: ")
    assert first.problem.endswith("; repeat the run with --again to repair it")
    assert second.problem is None


CONFIGURED = """\
name: center
tracking: {{enabled: {enabled}, experiment: mine, uri: {uri}, upload_checkpoint: true}}
"""


def test_experiment_and_address_are_those_of_the_runs_own_config(make_run, settings, seen_in, tmp_path):
    run = make_run(config=CONFIGURED.format(enabled="true", uri=settings.uri))
    run.write_artifacts()
    run.end("FINISHED")
    sync(tmp_path / "runs", TrackingSettings())
    seen = seen_in(TrackingSettings(uri=settings.uri, experiment="mine"))
    assert seen.run().info.status == "FINISHED"
    assert "checkpoints/step-00000010.pt" in seen.artifacts()


def test_explicit_experiment_wins(make_run, settings, seen, tmp_path):
    make_run(config=CONFIGURED.format(enabled="true", uri="null"))
    sync(tmp_path / "runs", settings)
    assert len(seen.runs()) == 1


def test_run_configured_not_to_be_tracked_is_not_delivered(make_run, settings, seen, tmp_path):
    make_run(config=CONFIGURED.format(enabled="false", uri="null"))
    assert sync(tmp_path / "runs", settings) == [SyncResult(tmp_path / "runs" / "center-abababab-s3")]
    assert seen.runs() == []


def test_address_without_its_password_is_asked_for(make_run, tmp_path):
    make_run("a", config=CONFIGURED.format(enabled="true", uri="http://***@127.0.0.1:5000"))
    (result,) = sync(tmp_path / "runs", TrackingSettings())
    assert result.problem == (
        f"{tmp_path}/runs/a: was configured for MLflow at http://***@127.0.0.1:5000, whose password is not "
        "kept here; give the whole address with --uri"
    )


def test_malformed_address_is_refused_before_anything(run, tmp_path):
    with pytest.raises(UserError, match="did you mean 'http'"):
        sync(tmp_path / "runs", TrackingSettings(uri="htp://127.0.0.1"))


def test_folder_that_another_process_delivers_is_said(run, settings, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.tracking.backlog._BUSY_WAIT_S", 0.05)
    with FileLock(run.folder.path / "tracking.lock"):
        (result,) = sync(tmp_path / "runs", settings)
    assert result.problem == f"{run.folder.path}: another process is delivering this run; nothing to do here"


def test_missing_folder_is_one_line(tmp_path, settings):
    expected = f"{tmp_path}/nowhere: no such folder; name the folder that holds the run folders"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        sync(tmp_path / "nowhere", settings)
