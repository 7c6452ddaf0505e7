"""`bench track sync`: close runs whose process is gone, deliver everything that waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import BenchError, UserError
from bench.results import RunFolder, run_folders
from bench.tracking.contents import state_of
from bench.tracking.delivery import Delivery, deliver
from bench.tracking.politeness import polite_mlflow
from bench.tracking.settings import TrackingSettings
from bench.tracking.store import StoreUnreachable, open_store

_BUSY_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What happened to one run folder.

    Args:
        folder: the run folder.
        delivery: what was delivered; None when nothing could be.
        was_closed: it said RUNNING, its process was gone, and it is KILLED now.
        problem: one line; None when all is well.
    """

    folder: Path
    delivery: Delivery | None = None
    was_closed: bool = False
    problem: str | None = None


def sync(runs: Path, settings: TrackingSettings) -> list[SyncResult]:
    """Close abandoned runs below `runs` and deliver every backlog, in the order of their names.

    A store that is away ends the delivery, not the closing: the rest of the results carry its problem.

    Raises:
        UserError: `runs` is no folder, or the settings cannot work.
    """
    if not runs.is_dir():
        raise UserError(f"{runs}: no such folder; name the folder that holds the run folders")
    folders = run_folders(runs)
    away = _away(settings) if folders else None
    results = []
    for folder in folders:
        was_closed, delivery, problem = False, None, None
        try:
            was_closed = close_abandoned(folder)
            if away is None:
                delivery = deliver(folder, settings, wait_s=_BUSY_WAIT_S)
                if delivery.is_busy:
                    problem = f"{folder.path}: another process is delivering this run; nothing to do here"
        except StoreUnreachable as error:
            away = error
        except BenchError as error:
            problem = str(error)
        if away is not None and problem is None:
            problem = f"{away.problem}; {folder.path} waits; try again when it is back"
        results.append(SyncResult(folder.path, delivery, was_closed, problem))
    return results


def _away(settings: TrackingSettings) -> StoreUnreachable | None:
    try:
        with polite_mlflow():
            open_store(settings)
    except StoreUnreachable as error:
        return error
    return None


def close_abandoned(folder: RunFolder) -> bool:
    """Turn a run that says RUNNING, but whose process on this host is gone, into KILLED; True if it was one.

    Does nothing while somebody else works in the folder, resuming it for example.
    """
    state = state_of(folder)
    if state is None or not state.is_abandoned:
        return False
    try:
        with folder.lock():
            state = state_of(folder)
            if state is None or not state.is_abandoned:
                return False
            ended_at = _last_sign_of_life(folder)
            error = f"process {state.pid} is gone"
            folder.write_state(
                state.model_copy(update={"state": "KILLED", "ended_at": ended_at, "error": error})
            )
    except UserError:  # locked
        return False
    return True


def _last_sign_of_life(folder: RunFolder) -> str:
    files = [path for path in (folder.metrics, folder.path / "state.json") if path.exists()]
    last_write = max(path.stat().st_mtime for path in files)
    return datetime.fromtimestamp(last_write, UTC).isoformat(timespec="seconds")
