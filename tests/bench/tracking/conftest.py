"""Run folders as the engine writes them, and MLflow stores that cost milliseconds instead of seconds."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from bench.results import (
    Budget,
    Code,
    Environment,
    MetricsLine,
    MetricsWriter,
    ProtocolRecord,
    RunFolder,
    RunRecord,
    State,
    Timing,
    new_state,
    write_json,
    write_text,
)
from bench.tracking import TrackingSettings, prepare
from bench.tracking.politeness import polite_mlflow

CONFIG = """\
name: center
description: ''
seed: 3
loss: {name: center, factor: 0.01}
schedule: {name: steps, steps: {0: 0.1, 150: 0.01}}
runtime: {device: auto, threads: null}
"""
ACCURACY = {"accuracy": 0.985, "accuracy_std": 0.004, "val_at_far_1e-3": 0.5, "eer": float("nan")}


class ScriptedRun:
    """Plays the engine: writes what a run writes, in its order."""

    def __init__(self, path: Path, config: str = CONFIG) -> None:
        self.folder = RunFolder(path)
        self.state = new_state("center", "ab" * 32, 3).model_copy(
            update={"started_at": "2026-11-01T10:00:00+00:00"}
        )
        path.mkdir(parents=True)
        write_text(self.folder.config, config)
        self._write(durable_bytes=0)
        self._writer = MetricsWriter(self.folder.metrics)

    def log(self, step: int, metrics: Mapping[str, float] | None = None, *, time_ms: int = 0) -> None:
        """One line of metrics; each value differs from every other step's."""
        metrics = {"train/loss": 1 / step, "train/rate": 0.1 * step} if metrics is None else metrics
        self._writer.append(MetricsLine(step, time_ms or 1_700_000_000_000 + step, metrics))

    def checkpoint(self) -> None:
        """What is logged so far will not be written again."""
        self._write(durable_bytes=self._writer.sync())

    def end(
        self, state: State, error: str | None = None, *, steps: int = 10, record: bool = True
    ) -> RunRecord:
        """Record first, then the state."""
        ended_at = "2026-11-01T10:05:30+00:00"
        document = _record(self.state.started_at, ended_at, state, error, steps)
        if record:
            self.folder.write_record(document)
        self._writer.close()
        self._write(state=state, ended_at=ended_at, error=error)
        return document

    def resume(self) -> None:
        """Continue at the checkpoint in a new process: metrics beyond it are dropped."""
        self._write(state="RUNNING", ended_at=None, error=None, started_at="2026-11-01T11:00:00+00:00")
        self._writer.close()
        self._writer = MetricsWriter(self.folder.metrics, keep=self.state.durable_bytes)

    def tear(self, text: str = '{"step": 99, "time_') -> None:
        """A kill in the middle of a line."""
        with self.folder.metrics.open("a") as stream:
            stream.write(text)

    def write_artifacts(self) -> None:
        self.folder.pairs.write_bytes(b"pairs")
        self.folder.figures.mkdir()
        (self.folder.figures / "rendered_roc.png").write_bytes(b"png")
        self.folder.checkpoints.mkdir()
        for step in (5, 10):
            (self.folder.checkpoints / f"step-{step:08d}.pt").write_bytes(b"weights")

    def write_environment(self) -> None:
        write_json(self.folder.environment, {"device": "cpu", "threads": 1, "packages": {"torch": "2.15"}})

    def close(self) -> None:
        self._writer.close()

    def _write(self, **changes: object) -> None:
        self.state = self.state.model_copy(update=changes)
        self.folder.write_state(self.state)


def _record(started_at: str, ended_at: str, state: State, error: str | None, steps: int) -> RunRecord:
    protocol = ProtocolRecord(
        metrics=ACCURACY,
        fold_accuracy=(0.98, 0.99),
        fold_threshold=(1.0, 1.1),
        val_facenet={},
        val_exact={},
        num_genuine=300,
        num_impostor=300,
        metric="sqeuclidean",
        flip="none",
        subtract_mean=False,
    )
    return RunRecord(
        name="center",
        description="center loss, as in the post",
        config_hash="ab" * 32,
        seed=3,
        data_name="rendered",
        data_checksum="cd" * 32,
        state=state,
        error=error,
        started_at=started_at,
        ended_at=ended_at,
        config={"seed": 3},
        num_parameters=1000,
        budget=Budget(images=640, images_forward_only=0, steps=steps, epochs=1.0),
        timing=Timing(wall_s=1.0, parts_s={}, images_per_s=640.0),
        environment=Environment(
            python="3.11",
            platform="Linux",
            cpu="cpu",
            device="cpu",
            device_name="cpu",
            threads=2,
            processes=1,
            packages={},
        ),
        code=Code(version="0.1.0", git_commit="ef" * 20, git_dirty=False),
        protocols={"rendered": protocol} if state == "FINISHED" else {},
    )


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., ScriptedRun]]:
    runs: list[ScriptedRun] = []

    def make(name: str = "center-abababab-s3", config: str = CONFIG) -> ScriptedRun:
        runs.append(ScriptedRun(tmp_path / "runs" / name, config))
        return runs[-1]

    yield make
    for run in runs:
        run.close()


@pytest.fixture
def run(make_run: Callable[..., ScriptedRun]) -> ScriptedRun:
    return make_run()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: made once, copied for each test."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    prepare(TrackingSettings(uri=f"sqlite:///{path}"))
    return path


@pytest.fixture
def settings(tmp_path: Path, empty_database: Path) -> TrackingSettings:
    return fresh_settings(tmp_path / "store", empty_database)


def fresh_settings(folder: Path, empty_database: Path) -> TrackingSettings:
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return prepare(TrackingSettings(uri=f"sqlite:///{folder / 'mlflow.db'}", experiment="faces"))


@pytest.fixture
def make_settings(tmp_path: Path, empty_database: Path) -> Callable[[str], TrackingSettings]:
    return lambda name: fresh_settings(tmp_path / name, empty_database)


class Seen:
    """What MLflow shows, asked with MLflow's own client."""

    def __init__(self, settings: TrackingSettings) -> None:
        with polite_mlflow():
            from mlflow import MlflowClient

            self.client = MlflowClient(settings.uri)
        self.experiment = settings.experiment

    def runs(self):
        experiment = self.client.get_experiment_by_name(self.experiment)
        return self.client.search_runs([experiment.experiment_id])

    def run(self):
        (only,) = self.runs()
        return only

    def points(self, metric: str = "train/loss") -> list[tuple[int, float]]:
        """(step, value) in the order of steps; a step sent twice appears twice."""
        history = self.client.get_metric_history(self.run().info.run_id, metric)
        return sorted((point.step, point.value) for point in history)

    def steps(self, metric: str = "train/loss") -> list[int]:
        return [step for step, _ in self.points(metric)]

    def artifacts(self) -> list[str]:
        run_id = self.run().info.run_id
        found = []
        for entry in self.client.list_artifacts(run_id):
            if entry.is_dir:
                found += [inner.path for inner in self.client.list_artifacts(run_id, entry.path)]
            else:
                found.append(entry.path)
        return sorted(found)


@pytest.fixture
def seen(settings: TrackingSettings) -> Seen:
    return Seen(settings)


@pytest.fixture
def seen_in() -> type[Seen]:
    return Seen


@pytest.fixture
def in_child() -> Iterator[Callable[[Callable[[], object]], int]]:
    """Run a function in a forked process, which has all imports already; gives its pid."""
    started: list[int] = []

    def start(function: Callable[[], object]) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: other threads may live
            child = os.fork()
        if child:
            started.append(child)
            return child
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    yield start
    for pid in started:
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
