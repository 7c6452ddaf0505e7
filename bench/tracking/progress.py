"""`tracking.json` in the run folder: which MLflow run this is, and how far it has been delivered."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from pydantic import BaseModel, ValidationError

from bench.results import RunFolder, RunState, write_text

logger = logging.getLogger("bench.tracking")

_TAIL_BYTES = 512


class Progress(BaseModel):
    """What one store has of a run.

    Args:
        run_id: MLflow's id; None before the run was created there.
        offset: bytes of metrics.jsonl delivered.
        tail: fingerprint of the bytes before `offset`: a resume may have cut the file and written it anew.
        sending: metrics are, or were at a crash, on their way: the store may have more than `offset` says.
        artifacts: name -> size and time of the file as delivered.
        told: versions of the files that tell of news, as of the last pass after the run's end: while they are
            the same, the store has everything.
    """

    run_id: str | None = None
    offset: int = 0
    tail: str = ""
    sending: bool = False
    artifacts: dict[str, str] = {}
    told: tuple[int, ...] = ()


class Ledger(BaseModel):
    """The document: our own key of the run, and its progress in each store (address without credentials)."""

    run_key: str
    stores: dict[str, Progress] = {}


def load_ledger(folder: RunFolder, state: RunState) -> Ledger:
    """The ledger of a run folder; a new one where there is none or it is damaged.

    Losing it does no harm: the run is found again by its key, and what the store already has is asked for.
    """
    try:
        return Ledger.model_validate_json(folder.tracking.read_bytes())
    except FileNotFoundError:
        pass
    except ValidationError:
        logger.warning(f"{folder.tracking}: damaged; asking MLflow what it has of this run")
    return Ledger(run_key=_run_key(folder, state))


def save_ledger(folder: RunFolder, ledger: Ledger) -> None:
    """Replace tracking.json, atomically."""
    write_text(folder.tracking, ledger.model_dump_json(indent=2) + "\n")


def tail_of(path: Path, offset: int) -> str:
    """Fingerprint of the last bytes before `offset`; empty when the file is shorter."""
    with path.open("rb") as stream:
        stream.seek(max(0, offset - _TAIL_BYTES))
        tail = stream.read(min(offset, _TAIL_BYTES))
        if stream.tell() < offset:
            return ""
    return hashlib.sha256(tail).hexdigest()[:16]


def _run_key(folder: RunFolder, state: RunState) -> str:
    # Unique among all who share a server: the same config and seed may be run by others, or here again.
    origin = f"{state.host} {folder.path.absolute()} {state.started_at}"
    token = hashlib.sha256(origin.encode()).hexdigest()[:12]
    return f"{state.config_hash[:12]}-s{state.seed}-{token}"


def versions_of(folder: RunFolder) -> tuple[int, ...]:
    """Of the files that tell of news: metrics may go as `durable_bytes` in state.json grows."""
    return tuple(
        path.stat().st_mtime_ns if path.exists() else 0
        for path in (folder.path / "state.json", folder.environment, folder.path / "tags.json")
    )


def is_delivered(folder: RunFolder) -> bool:
    """Whether some store has all there is of a run that has ended; asks nobody."""
    try:
        ledger = Ledger.model_validate_json(folder.tracking.read_bytes())
    except (FileNotFoundError, ValidationError):
        return False
    return any(progress.told == versions_of(folder) for progress in ledger.stores.values())


def run_id_of(folder: RunFolder) -> str | None:
    """MLflow's id of a run, in the store that it was delivered to last; None before it was delivered."""
    try:
        ledger = Ledger.model_validate_json(folder.tracking.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    known = [progress.run_id for progress in ledger.stores.values() if progress.run_id]
    return known[-1] if known else None
