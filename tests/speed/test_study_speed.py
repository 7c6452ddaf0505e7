"""What a study takes beside its trials' training, and what a second worker gains. Asserts no time."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from .conftest import Race, Seconds

TRIALS = 8
# Ten seconds each on a core or so. All alike: what is pruned would follow from who came first.
ALIKE = ("train.epochs=34", "train.max_steps=100", "evaluate.every_epochs=17", "pruner.name=none")
OURS, PEER, THREAD = "2 workers", "1 worker", "1 worker of one thread"


@pytest.mark.timeout(1800)
def test_trials_with_one_worker_and_with_two(race: Race, tmp_path: Path) -> None:
    """`bench study` from the command to its end; the CPUs are divided among the workers.

    A trial's overhead is the time from its begin to its end in the study's journal, less what the record of
    its run says of training and evaluation: proposing values, starting the process, data, building, writing.
    """
    rates: dict[str, list[float]] = {}

    def study(name: str, *arguments: str) -> Seconds:
        folder = tmp_path / f"{time.time_ns()}"
        folder.mkdir()
        start = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "bench",
                "study",
                "studies/smoke",
                *ALIKE,
                "--trials",
                str(TRIALS),
                *arguments,
            ],
            cwd=folder,
            env={**os.environ, "BENCH_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            check=True,
        )
        took = time.perf_counter() - start
        for figure, value in figures(folder / "runs" / "studies" / "study-smoke").items():
            rates.setdefault(f"{figure}, {name}", []).append(value)
        return Seconds(took)

    race(
        "Studies: a trial, the whole command shared among its eight",
        "studies/smoke of 100 steps a trial, without pruning",
        ours=lambda: study(OURS, "--workers", "2"),
        peers={
            PEER: lambda: study(PEER, "--workers", "1"),
            THREAD: lambda: study(THREAD, "--workers", "1", "runtime.threads=1"),
        },
        per=TRIALS,
        columns=lambda: {name: statistics.median(values) for name, values in sorted(rates.items())},
        large=True,
        once=True,
    )


def figures(folder: Path) -> dict[str, float]:
    """Of a study that has ended: overhead, rate and threads of its trials."""
    journal = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    trials = optuna.load_study(study_name="study-smoke", storage=journal).trials
    overheads, threads = [], []
    for trial in trials:
        (file,) = (folder / "trials" / f"{trial.number:04d}").glob("*/record.json")
        record = json.loads(file.read_text())
        assert trial.duration is not None
        overheads.append(trial.duration.total_seconds() - record["timing"]["wall_s"])
        threads.append(record["environment"]["threads"])
    begun = min(trial.datetime_start for trial in trials if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    return {
        "trials a minute": 60 * len(trials) / (ended - begun).total_seconds(),
        "overhead a trial, s": statistics.median(overheads),
        "threads": statistics.median(threads),
    }
