"""`bench track sync`: close runs whose process is gone, deliver everything that waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import BenchError, UserError
from bench.results import RunFolder, run_folders
from bench.tracking import contents
from bench.tracking.delivery import Delivery, deliver
from bench.tracking.failures import StoreUnreachable
from bench.tracking.settings import TrackingSettings, resolve_uri

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

    What `settings` leaves open (address, experiment, checkpoint) is as each run's own config.yaml says; a run
    that was configured not to be tracked is not delivered. A store that is away is asked once.

    Raises:
        UserError: `runs` is no folder, or the address in `settings` or in MLFLOW_TRACKING_URI is malformed.
    """
    if not runs.is_dir():
        raise UserError(f"{runs}: no such folder; name the folder that holds the run folders")
    resolve_uri(settings)
    away: dict[str, StoreUnreachable] = {}
    return [_sync_one(folder, settings, away) for folder in (*run_folders(runs), *_of_studies(runs))]


def _of_studies(runs: Path) -> Iterator[RunFolder]:
    """Each study, then its trials, which name it."""
    for study in sorted(runs.glob("studies/*")):
        for state in (study / "state.json", *sorted(study.glob("trials/*/*/state.json"))):
            if state.exists():
                yield RunFolder(state.parent)


def _sync_one(folder: RunFolder, settings: TrackingSettings, away: dict[str, StoreUnreachable]) -> SyncResult:
    was_closed, delivery, problem = False, None, None
    try:
        was_closed = close_abandoned(folder)
        wanted = _as_configured(folder, settings)
        if wanted is not None:
            uri = resolve_uri(wanted)
            if uri in away:
                raise away[uri]
            delivery = deliver(folder, wanted, wait_s=_BUSY_WAIT_S)
            if delivery.is_busy:
                problem = f"{folder.path}: another process is delivering this run; nothing to do here"
    except StoreUnreachable as error:
        away[uri] = error
        problem = f"{error.problem}; {folder.path} waits; try again when it is back"
    except BenchError as error:
        problem = str(error)
    return SyncResult(folder.path, delivery, was_closed, problem)


def _as_configured(folder: RunFolder, settings: TrackingSettings) -> TrackingSettings | None:
    """Where this run is to be delivered; None: nowhere."""
    own = contents.config(folder.config).get("tracking") or {}
    if not own.get("enabled", True):
        return None
    uri = settings.uri or own.get("uri")
    if uri and "***" in uri:
        raise UserError(
            f"{folder.path}: was configured for MLflow at {uri}, whose password is not kept here; give the "
            "whole address with --uri"
        )
    return TrackingSettings(
        uri=uri,
        experiment=settings.experiment or own.get("experiment"),
        upload_checkpoint=settings.upload_checkpoint or own.get("upload_checkpoint", False),
    )


def close_abandoned(folder: RunFolder) -> bool:
    """Turn a run that says RUNNING, but whose process on this host is gone, into KILLED; True if it was one.

    Does nothing while somebody else works in the folder, resuming it for example.
    """
    state = folder.state()
    if state is None or not state.is_abandoned:
        return False
    try:
        with folder.lock():
            state = folder.state()
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
    return datetime.fromtimestamp(last_write, UTC).isoformat(timespec="milliseconds")
