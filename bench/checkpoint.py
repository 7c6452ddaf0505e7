"""Checkpoints: atomic, checksummed, loaded without executing code; a damaged one is named and passed over."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from bench.errors import BenchError
from bench.results import atomic_file, write_json

_log = logging.getLogger("bench.checkpoint")


class Checkpoints:
    """The last few checkpoints of one run: `step-00000600.pt` and, beside each, its checksum.

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
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise BenchError(
                f"{self._folder}: no space for the checkpoint of step {state['step']}; free some and "
                "continue with --resume"
            ) from None
        except RuntimeError as error:  # torch's writer reports a full disk in its own words
            if "write" not in str(error) and "enforce fail" not in str(error):
                raise
            raise BenchError(
                f"{self._folder}: the checkpoint of step {state['step']} failed: {error}"
            ) from None
        for old in self._paths()[: -self._kept]:
            _checksum_file(old).unlink(missing_ok=True)
            old.unlink(missing_ok=True)
        return path

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, or None."""
        for path in reversed(self._paths()):
            problem = _problem(path)
            if problem is None:
                return load_checkpoint(path, device)
            _log.warning("%s: %s; the checkpoint before it is used", path, problem)
        return None

    def clear(self) -> None:
        """Delete all of them."""
        for path in self._paths():
            _checksum_file(path).unlink(missing_ok=True)
            path.unlink()

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.pt"))


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read one file; tensors and plain values only, so a stranger's file cannot run code.

    Raises:
        BenchError: not a checkpoint.
    """
    if not zipfile.is_zipfile(path):
        raise BenchError(f"{path}: not a readable checkpoint: no zip archive, as torch.save writes")
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BenchError(f"{path}: not a readable checkpoint: {str(error).splitlines()[0]}") from None
    return state


def _problem(path: Path) -> str | None:
    try:
        expected = json.loads(_checksum_file(path).read_text())
    except FileNotFoundError:
        return "has no checksum beside it (its writing was interrupted)"
    except json.JSONDecodeError:
        return "its checksum file is damaged"
    if path.stat().st_size != expected["bytes"]:
        return f"is {path.stat().st_size} bytes long, not {expected['bytes']}"
    if _sha256(path) != expected["sha256"]:
        return "is damaged (its checksum differs)"
    return None


def _checksum_file(path: Path) -> Path:
    return path.with_suffix(".json")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
