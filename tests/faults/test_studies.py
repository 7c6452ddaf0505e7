"""Kills of a study's processes: exactly N finished trials afterwards, none RUNNING, MLflow agreeing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Injected

pytestmark = pytest.mark.faults

STUDY = """\
data: {name: rendered, identities: 12, images_per_identity: 6, size_px: 32,
       test_pairs: 4, validation_pairs: 3}
backbone: {name: small, embedding_dim: 16, width: 8}
loss: {name: center, factor: 0.01}
batch: {name: random, size: 36}
optimizer: {name: adamw, learning_rate: 1e-3}
schedule: {name: cosine}
train: {epochs: 60, log_every: 7}
evaluate: {every_epochs: 20}
runtime: {threads: 1, checkpoint_every_s: 0.3}
search:
  loss.factor: {float: [1e-3, 0.3], log: true}
  optimizer.learning_rate: {float: [5e-4, 1e-2], log: true}
objective: {metric: validation/accuracy}
pruner: {name: median, startup_trials: 2}
study: {trials: 5}
"""
JOURNAL = Path("runs/studies/faulty/journal.log")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def workspace(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "faults-cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Path("faulty.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def call(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", "study", "faulty.yaml", "--workers", "2", *arguments],
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


def trials() -> list[Any]:
    import optuna

    from bench.study.storage import open_journal_to_read

    storage = open_journal_to_read(JOURNAL)
    return optuna.load_study(study_name="faulty", storage=storage).get_trials(deepcopy=False)


def running_trials() -> dict[int, int]:
    """Trial -> pid of the process that trains it."""
    found = {}
    for path in Path("runs/studies/faulty/trials").glob("*/*/state.json"):
        state = json.loads(path.read_text())
        if state["state"] == "RUNNING":
            found[int(path.parent.parent.name)] = state["pid"]
    return found


def trial_processes() -> dict[int, int]:
    """Those that have a whole checkpoint: its checksum is written last."""
    whole = Path("runs/studies/faulty/trials").glob("*/*/checkpoints/step-*.json")
    numbers = {int(path.parents[2].name) for path in whole}
    return {number: pid for number, pid in running_trials().items() if number in numbers}


def trial_tags_of(state: str) -> Callable[[], list[Path]]:
    """The folders of trials that MLflow is about to be told to be in this state."""

    def find() -> list[Path]:
        tags = Path("runs/studies/faulty/trials").glob("*/*/tags.json")
        return [one for one in tags if json.loads(one.read_text())["tags"]["trial_state"] == state]

    return find


def wait_until(condition: Callable[[], Any], timeout_s: float = 120.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)
    return found


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    return output


def check_outcome(num_trials: int = 5) -> None:
    """Exactly N finished, none at work or waiting, and MLflow says the same of every trial."""
    found = trials()
    states = [trial.state.name for trial in found]
    assert sum(state in ("COMPLETE", "PRUNED") for state in states) == num_trials, states
    assert {"RUNNING", "WAITING"}.isdisjoint(states), states

    from bench.tracking.politeness import polite_mlflow

    with polite_mlflow():
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("faceloss-bench")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "trial_number" not in run.data.tags]
    assert parent.info.status == "FINISHED"
    told = {
        int(run.data.tags["trial_number"]): run.data.tags["trial_state"]
        for run in runs
        if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    assert told == {trial.number: trial.state.name for trial in found}
    assert len(runs) == len(found) + 1
    for run in runs:
        assert run.info.status != "RUNNING"
        if run.data.tags.get("trial_state") == "COMPLETE":
            steps = [p.step for p in client.get_metric_history(run.info.run_id, "validation/accuracy")]
            assert steps == [40, 80, 120]
            value = found[int(run.data.tags["trial_number"])].values[0]
            assert run.data.metrics["validation/accuracy"] == value


def test_a_killed_trial_goes_on_under_its_number_from_its_checkpoint(
    workspace: Path, start: Start, injected: Injected
) -> None:
    process = start()
    number, pid = next(iter(wait_until(trial_processes).items()))
    os.kill(pid, signal.SIGKILL)
    injected("kill -9 of a trial", "the steps since the last checkpoint, done again")
    output = finish(process)
    assert f"trial {number}: its process died (SIGKILL); it goes on from its last checkpoint" in output
    assert f"trial {number}: continuing after step" in output
    assert len(trials()) == 5
    check_outcome()


def test_a_trial_that_is_killed_before_its_first_checkpoint_begins_again(
    workspace: Path, start: Start, injected: Injected
) -> None:
    # none is due by time: the first comes with the evaluation, 40 steps later
    process = start("runtime.checkpoint_every_s=1000")
    number, pid = next(iter(wait_until(running_trials).items()))
    os.kill(pid, signal.SIGKILL)
    injected("kill -9 of a trial", "the steps since the last checkpoint, done again")
    output = finish(process)
    assert f"trial {number}: its process died (SIGKILL); it begins again: it had no checkpoint yet" in output
    assert "continuing after step" not in output
    check_outcome()


def test_a_killed_parent_leaves_trials_that_the_same_command_continues(
    workspace: Path, start: Start, injected: Injected
) -> None:
    for _ in range(2):
        process = start()
        wait_until(trial_processes)
        process.send_signal(signal.SIGKILL)
        injected("kill -9 of a study", "the steps since the last checkpoint, done again")
        process.wait()
    finish(start())
    assert len(trials()) == 5
    check_outcome()


def test_a_trial_that_ended_as_the_parent_was_killed_is_delivered_by_the_next_one(
    workspace: Path, start: Start, injected: Injected
) -> None:
    process = start()
    wait_until(trial_tags_of("COMPLETE"))
    process.send_signal(signal.SIGKILL)
    injected("kill -9 of a study", "the steps since the last checkpoint, done again")
    process.wait()
    finish(start())
    check_outcome()


def test_ctrl_c_ends_cleanly_and_the_same_command_continues(
    workspace: Path, start: Start, injected: Injected
) -> None:
    process = start()
    wait_until(trial_processes)
    process.send_signal(signal.SIGINT)
    injected("Ctrl-C of a study", "nothing")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "RUNNING" not in [trial.state.name for trial in trials()]
    finish(start())
    assert len(trials()) == 5
    check_outcome()


def test_a_second_parent_is_told_who_has_the_study(workspace: Path, start: Start, injected: Injected) -> None:
    first = start()
    wait_until(trial_processes)
    second = start()
    injected("two processes on one study", "nothing: the second is refused")
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 2
    assert f"runs/studies/faulty: process {first.pid} is running this study; wait for it or stop it" in output
    finish(first)
    check_outcome()


def test_a_trial_that_hangs_fails_at_its_limit_and_is_replaced(
    workspace: Path, start: Start, injected: Injected
) -> None:
    process = start("study.trial_timeout_s=25", "study.trials=3")
    number, pid = next(iter(wait_until(trial_processes).items()))
    os.kill(pid, signal.SIGSTOP)
    injected("a trial that hangs", "the trial, which is replaced")
    output = finish(process)
    reason = "no end within 25 s (study.trial_timeout_s)"
    assert f"trial {number}: failed: {reason}" in output
    assert trials()[number].user_attrs["error"] == reason
    assert trials()[number].state.name == "FAIL"
    check_outcome(3)


def test_a_torn_journal_and_a_lock_left_by_a_kill_are_repaired(
    workspace: Path, start: Start, injected: Injected
) -> None:
    process = start("study.trials=2")
    finish(process)
    whole = JOURNAL.read_bytes()
    JOURNAL.write_bytes(whole + b'{"op_code":5,"wor')
    lock = JOURNAL.with_name("journal.log.lock")
    lock.symlink_to(JOURNAL.absolute())
    injected("a torn journal, a lock left behind", "the torn line, which nobody had been told of", times=2)
    output = finish(start("study.trials=3"))
    assert f"{JOURNAL}: dropped 17 bytes of a torn last line; a kill had cut it off" in output
    assert f"{lock}: removed; a process that was killed had left it" in output
    assert JOURNAL.read_bytes().startswith(whole)
    check_outcome(3)
