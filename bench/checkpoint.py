"""Checkpoints: atomic, checksummed, loaded without executing code; a damaged one is named and passed over."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from bench.errors import BenchError, UserError
from bench.results import atomic_file, write_json
from bench.tensors import load_tensors

_log = logging.getLogger("bench.checkpoint")


class Checkpoints:
    """The last few checkpoints of a run, `step-00000600.pt`, and the best by validation, `best-00000400.pt`.

    Beside each lies its checksum; without one it counts as never written.

    Args:
        folder: where they lie.
        kept: how many; older ones are deleted once a newer one is whole.
    """

    def __init__(self, folder: Path, *, kept: int) -> None:
        self._folder = folder
        self._kept = kept

    def save(self, state: dict[str, Any]) -> Path:
        """Write the state of a step.

        Raises:
            BenchError: the disk is full; the checkpoint before is untouched.
        """
        path = self._folder / f"step-{state['step']:08d}.pt"
        try:
            with atomic_file(path) as stream:
                torch.save(state, stream)
            write_json(_checksum_file(path), {"sha256": _sha256(path), "bytes": path.stat().st_size})
        except (OSError, RuntimeError) as error:
            if not _is_full_disk(error, self._folder):
                raise
            raise BenchError(
                f"{self._folder}: no space for the checkpoint of step {state['step']}; free some and "
                "continue with --resume"
            ) from None
        for old in self._paths()[: -self._kept]:
            _remove(old)
        return path

    def keep_best(self, step: int) -> None:
        """Keep the checkpoint of a step, just written, until a later one is better; at first it is a link.

        Doing it twice changes nothing, so a kill half-way is mended by whoever continues from that step.
        """
        path = self._folder / f"step-{step:08d}.pt"
        best = self._folder / f"best-{step:08d}.pt"
        for source, target in ((path, best), (_checksum_file(path), _checksum_file(best))):
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError:  # a file system without hard links
                shutil.copyfile(source, target)
        for old in self._paths("best"):
            if old != best:
                _remove(old)

    def drop_best_after(self, step: int) -> None:
        """Forget what was best beyond a step from which the run goes on: it will come again."""
        for path in self._paths("best"):
            if int(path.stem.removeprefix("best-")) > step:
                _remove(path)

    def sweep(self) -> None:
        """Remove what a kill has left of a file that was being written; only for who holds the run's lock."""
        for path in self._folder.glob(".*.pt-*"):
            path.unlink(missing_ok=True)

    def has_any(self) -> bool:
        """Whether a checkpoint has been written to its end, so that `load` gives one or raises."""
        return any(_checksum_file(path).exists() for path in self._paths())

    def load_best(self, device: torch.device) -> dict[str, Any] | None:
        """The best by validation; None when there is none that is whole (a damaged one is named)."""
        for path in reversed(self._paths("best")):
            problem = _problem(path)
            if problem is None:
                return load_checkpoint(path, device)
            _log.warning("%s: %s", path, problem)
        return None

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The newest checkpoint that is whole; None when none has ever been written to its end.

        Raises:
            UserError: there are some, and all are damaged.
        """
        damaged = False
        for path in reversed(self._paths()):
            problem = _problem(path)
            if problem is None:
                return load_checkpoint(path, device)
            _log.warning("%s: %s; the one before it is tried", path, problem)
            damaged = damaged or _checksum_file(path).exists()
        if damaged:
            raise UserError(f"{self._folder}: no checkpoint is whole; start the run anew with --again")
        return None

    def _paths(self, kind: str = "step") -> list[Path]:
        return sorted(self._folder.glob(f"{kind}-*.pt"))


def _remove(path: Path) -> None:
    _checksum_file(path).unlink(missing_ok=True)  # first: what is left is then no whole checkpoint
    path.unlink(missing_ok=True)


def _is_full_disk(error: OSError | RuntimeError, folder: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # torch's writer has words of its own ("enforce fail"), whatever the reason
    return "enforce fail" in str(error) and shutil.disk_usage(folder).free < 2**26


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read one file; tensors and plain values only, so a stranger's file cannot run code.

    Raises:
        BenchError: not a checkpoint.
    """
    if not zipfile.is_zipfile(path):
        raise BenchError(f"{path}: not a readable checkpoint: no zip archive, as torch.save writes")
    try:
        state = load_tensors(path, device)
    except ValueError as error:
        raise BenchError(f"{path}: not a readable checkpoint: {error}") from None
    if not isinstance(state, dict):
        raise BenchError(f"{path}: not a readable checkpoint: it holds a {type(state).__name__}")
    return state


def _problem(path: Path) -> str | None:
    try:
        expected = json.loads(_checksum_file(path).read_text())
        size, digest = expected["bytes"], expected["sha256"]
    except FileNotFoundError:
        return "has no checksum beside it (its writing was interrupted)"
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError):
        return "its checksum file is damaged"
    if path.stat().st_size != size:
        return f"is {path.stat().st_size} bytes long, not {size}"
    if _sha256(path) != digest:
        return "is damaged (its checksum differs)"
    return None


def _checksum_file(path: Path) -> Path:
    return path.with_suffix(".json")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
