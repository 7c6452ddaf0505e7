"""insightface's verification sets (`lfw.bin`, `cfp_fp.bin`, ...): encoded images in pairs, in a pickle.

A pickle is a program, and these come from strangers. So this reads data only: every class and function that
the file names is refused, but for the few that numpy arrays and bytes are spelled with, for which harmless
stand-ins of our own answer. Nothing of the file is ever called.

The content is `(images, is_same)`: 2 P encoded images, pair p being images 2 p and 2 p + 1, and P truth
values. Source: insightface, recognition/arcface_torch/eval/verification.py (`load_bin`).
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError, one_line
from bench.images.files import ImageFiles


@dataclass(frozen=True, slots=True)
class ContentBlobs:
    """Images that are in memory already."""

    contents: tuple[bytes, ...]

    def read(self, index: int) -> bytes:
        """One of them."""
        return self.contents[index]

    def take(self, rows: NDArray[np.int64]) -> ContentBlobs:
        """Some of them."""
        return ContentBlobs(tuple(self.contents[row] for row in rows))

    def num_bytes(self) -> int:
        """All of them."""
        return sum(map(len, self.contents))


@dataclass(frozen=True, slots=True, eq=False)
class BinPairs:
    """What a .bin holds.

    Args:
        files: 2 P images; whom they show is not in the file.
        same: (P,) bool; pair p is images 2 p and 2 p + 1.
    """

    files: ImageFiles
    same: NDArray[np.bool_]


def read_bin(path: Path, option: str) -> BinPairs:
    """Read a .bin without running anything in it.

    Args:
        path: the file.
        option: the setting that named it, for messages.

    Raises:
        UserError: not such a file, or it names anything that it has no business with.
    """
    try:
        with path.open("rb") as stream:
            content = _Reader(stream, encoding="bytes").load()
    except _ForbiddenError as error:
        raise UserError(
            f"{option}: {path}: its pickle asks for {error}, which image pairs have no use for; nothing was "
            "run; do not trust this file"
        ) from None
    except OSError as error:
        raise UserError(f"{option}: {path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        reason = one_line(error) or type(error).__name__
        raise UserError(f"{option}: {path}: is no insightface .bin, or a damaged one ({reason})") from None
    contents, same = _checked(content, path, option)
    files = ImageFiles(
        path,
        ("unknown",),
        np.zeros(len(contents), np.int64),
        tuple(f"unknown/{index:06d}" for index in range(len(contents))),
        ContentBlobs(contents),
    )
    return BinPairs(files, same)


class _ForbiddenError(Exception):
    """The pickle named a class or function."""


class _Array:
    """In place of numpy.ndarray: keeps the bytes that the pickle gives it."""

    content = b""

    def __setstate__(self, state: Any) -> None:
        self.content = _as_bytes(state[-1])


class _Type:
    """In place of numpy.dtype: of no interest."""

    def __init__(self, *arguments: object) -> None:
        """Nothing."""

    def __setstate__(self, state: object) -> None:
        """Nothing."""


def _new_array(*arguments: object) -> _Array:
    return _Array()


def _scalar(kind: object, content: object) -> bool:
    return any(_as_bytes(content))


def _encoded(text: object, encoding: object) -> bytes:
    """How old pickles spell bytes: text in Latin-1."""
    return _as_bytes(text)


_HARMLESS: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encoded,
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Array,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _HARMLESS[_module, "_reconstruct"] = _new_array
    _HARMLESS[_module, "scalar"] = _scalar


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _HARMLESS[module, name]
        except KeyError:
            raise _ForbiddenError(one_line(f"{module}.{name}", 80)) from None

    def persistent_load(self, pid: object) -> Any:
        raise _ForbiddenError("an object outside of the file")


def _as_bytes(value: object) -> bytes:
    if isinstance(value, _Array):
        return value.content
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise ValueError(f"an image is a {type(value).__name__}, not bytes")


def _checked(content: object, path: Path, option: str) -> tuple[tuple[bytes, ...], NDArray[np.bool_]]:
    if not isinstance(content, tuple | list) or len(content) != 2:
        raise UserError(
            f"{option}: {path}: must hold (images, is_same), but holds a {type(content).__name__}"
        )
    images, is_same = content
    try:
        contents = tuple(_as_bytes(image) for image in images)
        same = np.frombuffer(is_same.content, np.bool_) if isinstance(is_same, _Array) else is_same
        truth = np.array([bool(value) for value in same], np.bool_)
    except (TypeError, ValueError) as error:
        raise UserError(f"{option}: {path}: must hold encoded images and truth values: {error}") from None
    if len(contents) != 2 * len(truth) or not len(truth):
        raise UserError(
            f"{option}: {path}: {len(truth):,} pairs need {2 * len(truth):,} images, but it holds "
            f"{len(contents):,}"
        )
    return contents, truth
