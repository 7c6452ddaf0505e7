"""Several processes of the pool train one run, as torchrun's would."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from bench.config import load_config
from bench.engine import run_path
from bench.pool import Job, Outcome, Pool, Slot
from bench.progress import Quiet

OVERRIDES = ("tracking.enabled=false",)


class KillsAFollower(Quiet):
    """Kills the second process of a run at its first validation."""

    first: int  # process of the run

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        server = _parent(self.first)  # both are its children
        for status in Path("/proc").glob("[0-9]*/stat"):
            pid = int(status.parent.name)
            if pid != self.first and _parent(pid) == server:
                os.kill(pid, signal.SIGKILL)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return -1


def outcome_of(pool: Pool) -> Outcome:
    while True:
        for outcome in pool.wait(1.0):
            return outcome


def tiny_job() -> Job:
    config = load_config("tiny.yaml", OVERRIDES)
    return Job("tiny.yaml", OVERRIDES, "tiny", config.hash, run_path(config))


def test_two_processes_train_one_run(workspace: Path) -> None:
    with Pool([Slot(1, processes=2)]) as pool:
        pool.start(tiny_job(), Quiet())
        outcome = outcome_of(pool)
    assert outcome.error is None
    assert outcome.record is not None
    assert outcome.record.state == "FINISHED"
    assert outcome.record.environment.processes == 2


def test_a_run_of_which_one_process_dies_may_be_tried_again(workspace: Path) -> None:
    kills = KillsAFollower()
    with Pool([Slot(1, processes=2)], resume=True) as pool:
        kills.first = pool.start(tiny_job(), kills)
        outcome = outcome_of(pool)
        assert outcome.died
        assert outcome.error == "one of its processes died (SIGKILL)"
        pool.start(tiny_job(), Quiet())
        outcome = outcome_of(pool)
    assert outcome.record is not None
    assert outcome.record.state == "FINISHED"
