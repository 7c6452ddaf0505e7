"""A study that several processes share, on a real PostgreSQL. Here, beside the servers that it needs."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.tracking import TrackingSettings, prepare

STUDY = """\
data: {name: rendered, identities: 12, images_per_identity: 6, size_px: 32,
       test_pairs: 4, validation_pairs: 3}
backbone: {name: small, embedding_dim: 16, width: 8}
loss: {name: center, factor: 0.01}
batch: {name: random, size: 36}
optimizer: {name: adamw, learning_rate: 1e-3}
schedule: {name: cosine}
train: {epochs: 40, log_every: 7}
evaluate: {every_epochs: 20}
runtime: {threads: 1, checkpoint_every_s: 0.3}
search:
  loss.factor: {float: [1e-3, 0.3], log: true}
objective: {metric: validation/accuracy}
study: {trials: 6, heartbeat_s: 1}
"""


@pytest.fixture
def shared(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "study-cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Path("shared.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture
def start(shared: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def call(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", *arguments],
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


def trials(uri: str, name: str) -> list[Any]:
    import optuna

    from bench.study.storage import open_place

    with open_place(uri, Path(), print) as place:
        if name not in optuna.get_all_study_names(place.storage):
            return []
        return optuna.load_study(study_name=name, storage=place.storage).get_trials(deepcopy=False)


def wait_until(condition: Callable[[], Any], timeout_s: float = 150.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.2)


def test_workers_share_a_study_through_a_kill_and_a_restart_of_the_database(
    start: Callable[..., subprocess.Popen[str]], postgres: Any
) -> None:
    home = start("study", "shared.yaml", "--storage", postgres.uri)
    wait_until(lambda: len(trials(postgres.uri, "shared")) > 0)
    doomed = start("worker", "shared", "--storage", postgres.uri)
    others = [doomed.pid]
    wait_until(
        lambda: any(
            trial.user_attrs.get("owner", {}).get("pid") in others for trial in trials(postgres.uri, "shared")
        )
    )
    doomed.send_signal(signal.SIGKILL)
    doomed.wait()
    helper = start("worker", "shared", "--storage", postgres.uri)
    postgres.restart()
    for process in (home, helper):
        output, _ = process.communicate(timeout=280)
        assert process.returncode == 0, output
    found = trials(postgres.uri, "shared")
    assert Counter(trial.state.name for trial in found) == {"COMPLETE": 6}
    assert [trial.number for trial in found] == list(range(6))

    from bench.tracking.politeness import polite_mlflow

    with polite_mlflow():
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("faceloss-bench")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "trial_number" not in run.data.tags]
    told = {int(run.data.tags["trial_number"]): run.data.tags for run in runs if run is not parent}
    assert {tags["trial_state"] for tags in told.values()} == {"COMPLETE"}
    assert {tags["mlflow.parentRunId"] for tags in told.values()} == {parent.info.run_id}
    assert sorted(told) == list(range(6))
    assert len(runs) == 7


def test_a_trial_of_a_machine_that_fell_silent_is_taken_over(shared: Path, postgres: Any) -> None:
    from bench.study.config import load_study
    from bench.study.ledger import Ledger
    from bench.study.storage import open_place

    config = load_study("shared.yaml", ["name=silent", "study.trials=2"])

    def open_ledger(stack: Any) -> Ledger:
        place = stack.enter_context(open_place(postgres.uri, Path(), lambda text: None, heartbeat_s=1.0))
        return Ledger(place, config)

    from contextlib import ExitStack

    with ExitStack() as stack:
        lost, other = open_ledger(stack), open_ledger(stack)
        claim = lost.claim()
        assert claim is not None
        owner = {"host": "elsewhere", "pid": 1, "process_start": 1, "starts": 1}
        lost.place.storage.set_trial_user_attr(lost.study.trials[0]._trial_id, "owner", owner)
        second = other.claim()
        assert second is not None
        assert second.number == 1  # the first is alive as far as anybody knows
        deadline = time.monotonic() + 60
        while other.study.trials[0].user_attrs["owner"]["host"] == "elsewhere":
            assert time.monotonic() < deadline
            time.sleep(0.5)
            other.sign_of_life()
            again = other.claim()
            if again is not None and again.number == 0:
                assert again.values == claim.values
        assert [trial.state.name for trial in other.study.trials] == ["RUNNING", "RUNNING"]


def test_what_cannot_be_reached_or_is_not_there_is_one_line(shared: Path, postgres: Any) -> None:
    from bench.study.ledger import open_existing
    from bench.study.storage import open_place

    away = "postgresql+psycopg://me:secret@127.0.0.1:1/db"
    with pytest.raises(UserError) as caught, open_place(away, Path(), print):
        pass
    message = str(caught.value)
    assert message.startswith("--storage postgresql+psycopg://***@127.0.0.1:1/db: cannot be used: connection")
    assert "secret" not in message
    assert "\n" not in message
    with open_place(postgres.uri, Path(), print) as place, pytest.raises(UserError) as caught:
        open_existing(place, "nothing")
    assert str(caught.value).endswith(": holds no study 'nothing'")


def test_a_database_that_is_mlflows_is_refused_in_one_line(postgres: Any) -> None:
    from bench.study.storage import open_place

    uri = postgres.database("taken")
    prepare(TrackingSettings(uri=uri, experiment="first"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Optuna leaves a connection open as it refuses
        with pytest.raises(UserError) as caught, open_place(uri, Path(), print):
            pass
        message = str(caught.value)
        del caught
        gc.collect()
    assert message == (
        f"--storage postgresql+psycopg://***@127.0.0.1:{postgres.port}/taken: holds tables of another "
        "version of Optuna or of another program, MLflow's say; give studies a database of their own"
    )
