"""The audit's outcome as a file beside the data, and how a run finds it again."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import UserError
from bench.results import DataAudit, write_text


class AuditFile(BaseModel):
    """The content of TRAIN.audit.json.

    Args:
        verdict: what a run record carries.
        shared_identities: (training identity, test identity).
        near_duplicates: (training picture, test picture, differing bits of 256).
        embedding_duplicates: (training picture, test picture, squared distance).
        unreadable: pictures that could not be looked at, and why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: DataAudit
    shared_identities: tuple[tuple[str, str], ...] = ()
    near_duplicates: tuple[tuple[str, str, int], ...] = ()
    embedding_duplicates: tuple[tuple[str, str, float], ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()


def audit_path(train: Path) -> Path:
    """Where the audit of a training set lies: `casia.tar` has `casia.tar.audit.json` beside it."""
    resolved = train.resolve()
    return resolved.with_name(f"{resolved.name}.audit.json")


def write_audit(path: Path, content: AuditFile) -> None:
    """Write it atomically.

    Raises:
        UserError: the place cannot be written.
    """
    try:
        write_text(path, content.model_dump_json(indent=2) + "\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path}: cannot be written ({reason}); name another file with --json") from error


def audit_verdict(train: Path, *, num_images: int) -> DataAudit | None:
    """What `bench data audit` found about a training set; None where it was never asked.

    This is what a data set puts into `Data.audit`, from where it gets into the run record.

    Args:
        train: the folder or archive that was audited.
        num_images: pictures in it now. An audit of another number is of another set: None.

    Raises:
        UserError: the file is there and cannot be understood.
    """
    path = audit_path(train)
    try:
        verdict = AuditFile.model_validate_json(path.read_bytes()).verdict
    except FileNotFoundError:
        return None
    except ValidationError:
        raise UserError(
            f"{path}: is no audit; remove it, or run 'bench data audit {train} TEST' again"
        ) from None
    return verdict if verdict.train_images == num_images else None
