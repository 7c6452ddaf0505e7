"""Real signals to real processes: what a kill costs, and what must never be lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from bench.results import RunFolder, read_metrics

from ..conftest import Injected

pytestmark = pytest.mark.faults

LONG = """\
data: {name: rendered, identities: 12, images_per_identity: 6, size_px: 32,
       test_pairs: 4, validation_pairs: 3}
backbone: {name: small, embedding_dim: 16, width: 8, dropout: 0.2}
loss: {name: center, factor: 0.01}
batch: {name: random, size: 36}
optimizer: {name: adamw, learning_rate: 1e-3}
schedule: {name: cosine}
augment: {shift_px: 1}
train: {epochs: 150, log_every: 7, ema_decay: 0.99}
evaluate: {every_epochs: 50}
runtime: {threads: 1, checkpoint_every_s: 0.3}
"""


@pytest.fixture
def workspace(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "faults-cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Path("long.yaml").write_text(LONG)
    return tmp_path


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def call(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", "run", "long.yaml", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def folder(seed: int = 0, runs: str = "runs") -> RunFolder:
    (path,) = Path(runs).glob(f"long-*-s{seed}")
    return RunFolder(path)


def wait_for_step(step: int, seed: int = 0, timeout_s: float = 120.0) -> None:
    """Until the run has written metrics of that step and has a checkpoint."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for path in Path("runs").glob(f"long-*-s{seed}"):
            lines = list(read_metrics(path / "metrics.jsonl"))
            if lines and lines[-1].step >= step and list(path.glob("checkpoints/step-*.json")):
                return
        time.sleep(0.02)
    raise AssertionError(f"step {step} was not reached in {timeout_s} s")


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)


def mlflow_has_some() -> bool:
    """Whether metrics have been delivered."""
    ledger = folder().tracking
    stores = json.loads(ledger.read_text())["stores"].values() if ledger.exists() else ()
    return any(progress["offset"] > 0 for progress in stores)


def state_of(seed: int) -> str:
    state = folder(seed).state()
    assert state is not None
    return state.state


def outcome(run: RunFolder) -> tuple[object, object, object]:
    """Everything that an interruption must not change: figures, curves, weights."""
    record = run.record()
    assert record is not None
    curves = [
        (line.step, {name: value for name, value in line.metrics.items() if name != "train/images_per_s"})
        for line in read_metrics(run.metrics)
    ]
    newest = sorted(run.checkpoints.glob("step-*.pt"))[-1]
    learner = torch.load(newest, weights_only=True)["learner"]
    weights = {
        f"{part}.{name}": value.flatten().tolist()
        for part in ("backbone", "loss", "ema")
        for name, value in learner[part].items()
    }
    return record.protocols, curves, weights


def test_a_run_killed_at_any_moment_continues_to_the_same_bits(
    workspace: Path,
    start: Callable[..., subprocess.Popen[str]],
    injected: Injected,
) -> None:
    untracked = "tracking.enabled=false"
    whole = start(untracked, "runtime.runs=whole")
    assert whole.wait(timeout=200) == 0, whole.communicate()[0]
    for step in (20, 90, 160, 230):
        process = start(untracked, "--resume")
        wait_for_step(step)
        process.send_signal(signal.SIGKILL)
        injected("kill -9 of a run at some moment", "the steps since the last checkpoint, done again")
        process.wait()
    last = start(untracked, "--resume")
    assert last.wait(timeout=200) == 0, last.communicate()[0]
    record = folder().record()
    assert record is not None
    assert record.resumed_from_step is not None
    assert outcome(folder()) == outcome(folder(runs="whole"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_as_killed_with_a_checkpoint(
    workspace: Path,
    start: Callable[..., subprocess.Popen[str]],
    number: signal.Signals,
    code: int,
    injected: Injected,
) -> None:
    process = start("tracking.enabled=false", "runtime.checkpoint_every_s=1000")
    deadline = time.monotonic() + 120
    while not any(True for path in Path("runs").glob("*/metrics.jsonl") for _ in read_metrics(path)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    injected("SIGTERM or SIGINT to a run", "nothing: a checkpoint of the last step")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    assert f"stopped by {number.name}; continue with --resume" in output
    assert state_of(0) == "KILLED"
    assert list(folder().checkpoints.glob("step-*.pt"))


@pytest.mark.parametrize(
    ("number", "code", "status"), [(signal.SIGTERM, 143, "KILLED"), (signal.SIGKILL, -9, "RUNNING")]
)
def test_a_killed_run_finishes_in_mlflow_under_the_same_id_with_no_step_twice(
    workspace: Path,
    start: Callable[..., subprocess.Popen[str]],
    number: signal.Signals,
    code: int,
    status: str,
    injected: Injected,
) -> None:
    from bench.tracking.politeness import polite_mlflow

    longer = "train.epochs=600"  # a fast machine is through 150 before MLflow has made its database
    process = start(longer)
    wait_for_step(30)
    wait_until(mlflow_has_some)
    process.send_signal(number)
    injected("SIGTERM or kill -9 of a tracked run", "nothing: MLflow has each step once")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    with polite_mlflow():
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("faceloss-bench")
    assert experiment is not None
    (killed,) = client.search_runs([experiment.experiment_id])
    assert killed.info.status == status
    resumed = start(longer, "--resume")
    assert resumed.wait(timeout=200) == 0, resumed.communicate()[0]
    (finished,) = client.search_runs([experiment.experiment_id])
    assert finished.info.run_id == killed.info.run_id
    assert finished.info.status == "FINISHED"
    steps = [point.step for point in client.get_metric_history(finished.info.run_id, "train/loss")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 1200


def test_ctrl_c_ends_every_run_of_a_pool_and_the_same_command_continues(
    workspace: Path,
    start: Callable[..., subprocess.Popen[str]],
    injected: Injected,
) -> None:
    arguments = ("tracking.enabled=false", "--seeds", "2", "--workers", "2")
    process = start(*arguments)
    wait_for_step(30, seed=0)
    wait_for_step(30, seed=1)
    process.send_signal(signal.SIGINT)
    injected("Ctrl-C of a pool of runs", "nothing: a checkpoint of each")
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 130, output
    assert [state_of(0), state_of(1)] == ["KILLED", "KILLED"]
    resumed = start(*arguments, "--resume")
    output, _ = resumed.communicate(timeout=250)
    assert resumed.returncode == 0, output
    assert [state_of(0), state_of(1)] == ["FINISHED", "FINISHED"]


def test_a_run_that_dies_in_a_pool_takes_nobody_with_it(
    workspace: Path,
    start: Callable[..., subprocess.Popen[str]],
    injected: Injected,
) -> None:
    process = start("tracking.enabled=false", "--seeds", "2", "--workers", "2")
    wait_for_step(10, seed=0)
    wait_for_step(10, seed=1)
    state = folder(0).state()
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    injected("kill -9 of a process of a pool", "the steps since the last checkpoint, done again")
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 1, output
    assert "long s0: its process died (SIGKILL)" in output
    assert [state_of(0), state_of(1)] == ["KILLED", "FINISHED"]


def test_runs_whose_parent_was_killed_end_by_themselves_with_a_checkpoint(
    workspace: Path,
    start: Callable[..., subprocess.Popen[str]],
    injected: Injected,
) -> None:
    process = start("tracking.enabled=false", "train.epochs=3000", "--seeds", "2", "--workers", "2")
    wait_for_step(10, seed=0)
    wait_for_step(10, seed=1)
    process.send_signal(signal.SIGKILL)
    injected("kill -9 of the parent of a pool", "nothing: a checkpoint of each run")
    process.wait()
    wait_until(lambda: [state_of(0), state_of(1)] == ["KILLED", "KILLED"])
