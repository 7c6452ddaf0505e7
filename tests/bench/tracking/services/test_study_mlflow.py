"""A study whose MLflow server dies under it and comes back: nothing is lost, nothing told twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import MlflowServer
from .test_study_workers import STUDY


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    folder = tmp_path / "mlflow"
    folder.mkdir()
    server = MlflowServer(folder, f"sqlite:///{folder}/mlflow.db")
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    yield server
    server.kill()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 400
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"ended, or too late:\n{process.communicate()[0]}")
        time.sleep(0.2)


def num_finished() -> int:
    records = Path("runs/studies/shared/trials").glob("*/*/record.json")
    return sum('"state": "FINISHED"' in record.read_text() for record in records)


@pytest.mark.timeout(1200)
def test_mlflow_may_be_away_while_trials_begin_and_end(
    own_server: MlflowServer, tmp_path: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "study-cache"))
    Path("shared.yaml").write_text(STUDY)
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "study", "shared.yaml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: num_finished() >= 1, process)
    own_server.kill()
    before = num_finished()
    wait_until(lambda: num_finished() >= before + 2, process)  # one has begun and ended without it
    own_server.start()
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "the run goes on, its metrics wait in runs/studies/shared" in output
    assert "answers again" in output

    from bench.tracking.politeness import polite_mlflow

    with polite_mlflow():
        from mlflow import MlflowClient

        client = MlflowClient(own_server.uri)
        experiment = client.get_experiment_by_name("faceloss-bench")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        (parent,) = [run for run in runs if "trial_number" not in run.data.tags]
        children = [run for run in runs if run is not parent]
        assert sorted(int(run.data.tags["trial_number"]) for run in children) == list(range(6))
        for run in runs:
            assert run.info.status == "FINISHED"
        for run in children:
            assert run.data.tags["trial_state"] == "COMPLETE"
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
            points = client.get_metric_history(run.info.run_id, "validation/accuracy")
            assert [point.step for point in points] == [40, 80]
