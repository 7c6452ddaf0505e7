"""Weights that others trained: from a file on disk, or from where they are published."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.download import download
from bench.errors import UserError, one_line
from bench.location import cache_folder
from bench.tensors import load_tensors

STARTING = ("pretrained", "weights", "weights_sha256")
"""Options of backbones that only say which weights a training starts from."""


def architecture(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that decide what a backbone is, for one whose weights come from a checkpoint."""
    return {name: value for name, value in options.items() if name not in STARTING}


def read_state(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors of a weight file: torch.save's or safetensors'. No code in it is run.

    Args:
        path: the file.
        sha256: that the file must have; None: any.

    Raises:
        ValueError: no such file, not one of these, something else in it, or another file than was meant.
    """
    if not path.is_file():
        raise ValueError(f"weights: {path}: no such file")
    if sha256 is not None and (found := file_sha256(path)) != sha256:
        raise ValueError(
            f"weights: {path} is another file than weights_sha256 says ({found[:12]}, not {sha256[:12]}); "
            "leave weights_sha256 out to take it as it is"
        )
    try:
        state: Any = load_tensors(path, torch.device("cpu"))
    except (ValueError, OSError) as error:
        raise ValueError(f"weights: {path}: not a readable weight file: {one_line(error)}") from None
    if isinstance(state, dict) and {"learner", "config"} <= state.keys():
        raise ValueError(f"weights: {path} is a checkpoint of a run; start from it with init.from={path}")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f"weights: {path}: must hold tensors by name, as torch.save(model.state_dict()) writes"
        )
    return state


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def published(url: str, name: str, option: str) -> Path:
    """The file of that address in our cache, fetched when it is not there.

    Raises:
        UserError: it cannot be had; says what to do without a network.
    """
    path = cache_folder() / "weights" / name
    remedy = (
        f"without a network, copy the file to {path}, or set backbone.weights=FILE; {option} starts without"
    )
    if not path.exists() and os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
        raise UserError(f"{url}: not fetched, since HF_HUB_OFFLINE is set; {remedy}")
    return download(url, path, remedy=remedy)
