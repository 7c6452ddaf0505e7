"""Runs out of MLflow and reports into it, through a real store."""

from __future__ import annotations

import pytest

from bench.errors import UserError
from bench.results import RunFolder, read_metrics
from bench.tracking import TrackingSettings, deliver, download_runs, upload_report


def test_a_delivered_run_comes_back_as_it_was(run, settings, tmp_path):
    for step in range(1, 6):
        run.log(step, {"train/loss": 1 / step, "validation/accuracy": step / 10})
    run.write_artifacts()
    record = run.end("FINISHED")
    deliver(run.folder, settings)

    (path,) = download_runs(settings, tmp_path / "local")
    folder = RunFolder(path)
    found = folder.record()
    assert found is not None
    assert found.model_dump_json() == record.model_dump_json()
    assert folder.pairs.read_bytes() == b"pairs"
    lines = [(line.step, line.time_ms, dict(line.metrics)) for line in read_metrics(folder.metrics)]
    assert lines == [
        (line.step, line.time_ms, dict(line.metrics)) for line in read_metrics(run.folder.metrics)
    ]


def test_unfinished_runs_come_back_with_their_state_and_reason(make_run, settings, tmp_path):
    for name, state in (("center-1-s0", "FAILED"), ("center-1-s1", "KILLED")):
        run = make_run(name)
        run.log(1)
        run.end(state, f"{state} for a reason")
        deliver(run.folder, settings)
    states = [RunFolder(path).state() for path in download_runs(settings, tmp_path / "local")]
    assert sorted((state.state, state.error) for state in states if state) == [
        ("FAILED", "FAILED for a reason"),
        ("KILLED", "KILLED for a reason"),
    ]


def test_runs_may_be_named_by_id_and_others_are_refused(run, settings, seen, tmp_path):
    run.end("FINISHED")
    run_id = deliver(run.folder, settings).run_id
    assert run_id is not None
    assert len(download_runs(settings, tmp_path / "local", run_ids=[run_id])) == 1
    with pytest.raises(UserError) as missing:
        download_runs(settings, tmp_path / "other", run_ids=["0" * 32])
    assert str(missing.value) == f"--runs {'0' * 32}: MLflow at {settings.uri} has no run of that id"
    experiment = seen.client.get_experiment_by_name("faces")
    foreign = seen.client.create_run(experiment.experiment_id, run_name="mine").info.run_id
    with pytest.raises(UserError) as refused:
        download_runs(settings, tmp_path / "third", run_ids=[foreign])
    assert str(refused.value) == f"--runs {foreign}: is no training run of faceloss-bench (mine)"


def test_a_mistyped_experiment_is_refused_and_not_created(run, settings, seen, tmp_path):
    run.end("FINISHED")
    deliver(run.folder, settings)
    wrong = TrackingSettings(uri=settings.uri, experiment="face")
    with pytest.raises(UserError) as caught:
        download_runs(wrong, tmp_path / "local")
    assert str(caught.value) == (
        f"--experiment face: MLflow at {settings.uri} has no such experiment; did you mean 'faces'?"
    )
    assert seen.client.get_experiment_by_name("face") is None


def test_a_database_that_is_not_there_is_not_created(tmp_path):
    database = tmp_path / "mlflow.db"
    with pytest.raises(UserError) as caught:
        download_runs(TrackingSettings(uri=f"sqlite:///{database}"), tmp_path / "local")
    assert str(caught.value) == (
        f"MLflow at sqlite:///{database}: there is no such database; go to the folder of mlflow.db, set "
        "MLFLOW_TRACKING_URI, or read run folders with --dir"
    )
    assert not database.exists()


def test_a_report_is_a_run_of_its_own_once_and_no_training(settings, seen, tmp_path):
    files = [tmp_path / "out" / "report.md", tmp_path / "out" / "figures" / "roc.svg"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name)
    for _ in range(2):
        upload_report(settings, tmp_path / "out", files, name="report: x", key="report-1")
    assert seen.run().info.status == "FINISHED"
    assert seen.artifacts() == ["figures/roc.svg", "report.md"]
    assert download_runs(settings, tmp_path / "local") == []


def test_a_name_typed_in_the_browser_cannot_leave_the_folder(run, settings, seen, tmp_path):
    run.end("FINISHED")
    run_id = deliver(run.folder, settings).run_id
    seen.client.update_run(run_id, name="../../etc")
    (path,) = download_runs(settings, tmp_path / "local")
    assert path == tmp_path / "local" / f"etc-{run_id[:8]}"
