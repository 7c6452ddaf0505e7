"""The run folder is the truth of a run: everything else (MLflow, reports) is told from it.

runs/<name>-<hash8>-s<seed>/
    config.yaml      what was asked, resolved
    state.json       RUNNING, FINISHED, FAILED or KILLED; who runs it; how far it is safe
    metrics.jsonl    one line a logged step
    checkpoints/     to continue from
    record.json      what came out
    pairs.npz        distance, label and fold of every test pair
    thresholds.json  which threshold to deploy at which FAR, from the validation pairs
    figures/         pictures of the above
    tags.json        what a study says of the run, and whose part it is
    tracking.json    what has been delivered to MLflow (written by bench.tracking alone)
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import UserError
from bench.results.files import write_text
from bench.results.record import RunRecord, State

_Model = TypeVar("_Model", bound=BaseModel)


class RunState(BaseModel):
    """How a run stands.

    Args:
        durable_bytes: this much of metrics.jsonl will not be written again by a resume: it may be delivered.
        process_start: start time of process `pid` in clock ticks since boot: a pid alone is reused.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: State
    name: str
    config_hash: str
    seed: int
    started_at: str
    ended_at: str | None = None
    error: str | None = None
    durable_bytes: int = 0
    host: str = ""
    pid: int = 0
    process_start: int = 0

    @property
    def is_abandoned(self) -> bool:
        """RUNNING by its own word, but its process on this host is gone (kill -9, power loss)."""
        return self.state == "RUNNING" and self.host == socket.gethostname() and not self._process_lives()

    def _process_lives(self) -> bool:
        return process_start(self.pid) == self.process_start


class Tags(BaseModel):
    """What whoever started a run says of it; the run itself knows nothing of that.

    Args:
        parent: folder of the run that this one is a part of (a trial's study).
        tags: name -> value, shown beside the run in the tracking store.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    parent: str | None = None
    tags: dict[str, str] = {}


class RunFolder:
    """Paths and documents of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.pairs = path / "pairs.npz"
        self.thresholds = path / "thresholds.json"
        self.figures = path / "figures"
        self.trace = path / "trace.json"
        self.environment = path / "environment.json"
        self.tracking = path / "tracking.json"
        self._tags = path / "tags.json"
        self._state = path / "state.json"
        self._record = path / "record.json"

    def state(self) -> RunState | None:
        """How the run stands; None before it has begun.

        Raises:
            UserError: the file is damaged; names it.
        """
        return _parse(self._state, RunState)

    def write_state(self, state: RunState) -> None:
        """Replace state.json."""
        write_text(self._state, state.model_dump_json(indent=2) + "\n")

    def record(self) -> RunRecord | None:
        """What came out; None before the run has ended.

        Raises:
            UserError: the file is damaged or of another schema; names it.
        """
        return _parse(self._record, RunRecord)

    def write_record(self, record: RunRecord) -> None:
        """Replace record.json."""
        write_text(self._record, record.model_dump_json(indent=2) + "\n")

    def tags(self) -> Tags:
        """What a study says of the run; nothing for a run of its own.

        Raises:
            UserError: the file is damaged; names it.
        """
        return _parse(self._tags, Tags) or Tags()

    def write_tags(self, tags: Tags) -> None:
        """Replace tags.json."""
        write_text(self._tags, tags.model_dump_json(indent=2) + "\n")

    def clear(self, *, checkpoint: bool, identity: bool) -> None:
        """Remove what an earlier attempt came to.

        Args:
            checkpoint: also what a resume would continue from.
            identity: also what ties the folder to its run in the tracking store: a new run begins.
        """
        old = [self._record, self.pairs, self.thresholds, self.trace, *self.figures.glob("*")]
        if checkpoint:
            old += [self._state, self.metrics, *self.checkpoints.glob("*")]
        if identity:
            old.append(self.tracking)
        for path in old:
            path.unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Only one process works in a run folder.

        Raises:
            UserError: another one does.
        """
        lock = FileLock(self.path / "run.lock")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            state = self.state()
            who = f"process {state.pid} on {state.host}" if state else "another process"
            raise UserError(f"{self.path}: {who} is working on this run; wait for it or stop it") from None
        except OSError as error:
            raise UserError(
                f"runtime.runs: {self.path} cannot be written ({error.strerror}); choose another folder"
            ) from None
        try:
            yield
        finally:
            lock.release()


def new_state(name: str, config_hash: str, seed: int) -> RunState:
    """RUNNING, now, by this process."""
    return RunState(
        state="RUNNING",
        name=name,
        config_hash=config_hash,
        seed=seed,
        started_at=now(),
        host=socket.gethostname(),
        pid=os.getpid(),
        process_start=process_start(os.getpid()),
    )


def run_folders(runs: Path) -> list[RunFolder]:
    """All run folders below `runs`, sorted by name."""
    return [RunFolder(state.parent) for state in sorted(runs.glob("*/state.json"))]


def now() -> str:
    """UTC time, ISO 8601 to the millisecond, as MLflow counts.

    Two runs of one second must differ in it: it is part of the key by which a run is found in MLflow.
    """
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def to_the_second(time: str) -> str:
    """A time of `now()` as people read it: without fractions."""
    return datetime.fromisoformat(time).isoformat(timespec="seconds")


def process_start(pid: int) -> int:
    """Start of a process in clock ticks since boot; 0: no such process; 1: alive, but no /proc tells when."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[19])
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return 0
    try:  # no /proc: at least say whether the process is there
        os.kill(pid, 0)
    except ProcessLookupError:
        return 0
    except PermissionError:
        pass
    return 1


def _parse(path: Path, model: type[_Model]) -> _Model | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "JSON"
        raise UserError(
            f"{path}: damaged, or of another version ({where}: {first['msg']}); "
            "repeat the run with --again to repair it"
        ) from None
