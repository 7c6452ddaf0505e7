"""Whole runs into a real MLflow store, as a user has it: mlflow.db in the working folder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import load_config, run
from bench.errors import Killed
from bench.results import RunFolder
from bench.tracking import Delivery, TrackingSettings
from bench.tracking.politeness import polite_mlflow

from ..conftest import Injected
from .conftest import Bench

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Store = Callable[[], "MlflowClient"]


@pytest.fixture
def store(workspace: Path) -> Store:
    """Opens the store that the run has made, as `mlflow ui` in the same folder would find it."""

    def client() -> MlflowClient:
        with polite_mlflow():
            from mlflow import MlflowClient

            return MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")

    return client


def runs_of(client: MlflowClient) -> list[Run]:
    experiment = client.get_experiment_by_name("faceloss-bench")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


@pytest.mark.slow
def test_a_run_ends_up_in_mlflow_with_figures_parameters_curves_and_artifacts(store: Store) -> None:
    record = run("tiny.yaml")
    client = store()
    (tracked,) = runs_of(client)
    assert tracked.info.status == "FINISHED"
    for name in (
        "accuracy",
        "accuracy_std",
        "accuracy_se",
        "best_threshold",
        "val_at_far_1e-3",
        "val_std",
        "far",
        "val_exact_at_far_1e-3",
        "auc",
        "eer",
    ):
        expected = record.protocols["rendered"].metrics[name]
        assert tracked.data.metrics[f"rendered/{name}"] == pytest.approx(expected, nan_ok=True)
    assert tracked.data.params["loss.name"] == "center"
    assert tracked.data.params["loss.factor"] == "0.01"
    assert record.config_hash in tracked.data.tags.values()
    history = client.get_metric_history(tracked.info.run_id, "train/loss")
    assert [point.step for point in history] == [3, 6, 9, 12]
    names = {artifact.path for artifact in client.list_artifacts(tracked.info.run_id)}
    assert {"config.yaml", "record.json", "pairs.npz", "figures"} <= names
    assert not any("checkpoint" in name for name in names)
    local = client.download_artifacts(tracked.info.run_id, "config.yaml")
    assert load_config(local).hash == record.config_hash


@pytest.mark.slow
def test_parallel_runs_are_all_tracked_by_the_parent(store: Store, bench_command: Bench) -> None:
    ended = bench_command("run", "tiny.yaml", "train.max_steps=3", "--seeds", "3", "--workers", "2")
    assert ended.code == 0, ended.err
    tracked = runs_of(store())
    assert sorted(entry.data.params["seed"] for entry in tracked) == ["0", "1", "2"]
    assert {entry.info.status for entry in tracked} == {"FINISHED"}
    assert all("rendered/accuracy" in entry.data.metrics for entry in tracked)


@pytest.mark.slow
def test_a_failed_run_is_closed_in_mlflow_with_its_reason(store: Store, bench_command: Bench) -> None:
    ended = bench_command("run", "tiny.yaml", "optimizer={name: sgd, learning_rate: 1e30}")
    assert ended.code == 1
    assert len(ended.err.splitlines()[-1].split("\n")) == 1
    (tracked,) = runs_of(store())
    assert tracked.info.status == "FAILED"


def test_an_address_that_cannot_be_mlflows_is_refused_before_anything_is_written(
    bench_command: Bench,
) -> None:
    ended = bench_command("run", "tiny.yaml", "tracking.uri=postgre://here/db")
    assert ended.code == 2
    assert "postgre" in ended.err
    assert not list(Path("runs").glob("*/config.yaml"))


@pytest.mark.slow
def test_a_server_that_is_down_does_not_stop_the_run_and_sync_delivers_later(
    store: Store, bench_command: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    ended = bench_command("run", "tiny.yaml")
    assert ended.code == 0, ended.err
    assert "MLflow at http://127.0.0.1:9 cannot be reached" in ended.err
    assert "bench track sync" in ended.err
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    synced = bench_command("track", "sync")
    assert synced.code == 0, synced.err
    (tracked,) = runs_of(store())
    assert tracked.info.status == "FINISHED"
    assert tracked.info.run_id in synced.out


def test_a_signal_during_the_last_delivery_waits_for_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, injected: Injected
) -> None:
    delivered = []

    def slow(folder: RunFolder, settings: TrackingSettings, **options: object) -> Delivery:
        state = folder.state()
        assert state is not None
        if state.state == "FINISHED":
            injected("SIGTERM during the last delivery to MLflow", "nothing: delivery ends first")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)
        delivered.append(state.state)
        return Delivery("id", state.state, is_complete=True)

    monkeypatch.setattr("bench.tracking.deliverer.deliver", slow)
    monkeypatch.setattr("bench.tracking.prepare", lambda settings, report: settings)
    with pytest.raises(Killed, match="SIGTERM"):
        run("tiny.yaml", ["train.max_steps=2"])
    assert delivered[-1] == "FINISHED"
    (folder,) = Path("runs").iterdir()
    state = RunFolder(folder).state()
    assert state is not None
    assert state.state == "FINISHED"
