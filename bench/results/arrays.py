"""Arrays out of .npy and .npz files that anybody may have made: plain ones, or the reason why not."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bench.errors import one_line

Array = npt.NDArray[Any]
T = TypeVar("T")


class UnreadableArrayError(ValueError):
    """The message is the reason, in one line, without the file's name."""


class PickledArrayError(UnreadableArrayError):
    """An array of Python objects: reading it could run code, so it is not read."""


def map_array(path: Path, *, kind: str, shape: tuple[int | None, ...]) -> Array:
    """Map a .npy.

    Args:
        path: the file.
        kind: what its type must be, as numpy spells it: "uint8", "int64".
        shape: that it must have; None is any length.

    Raises:
        UnreadableArrayError: missing, damaged, or another array.
    """
    array = _read(lambda: np.load(path, mmap_mode="r", allow_pickle=False))
    wanted = f"{kind} ({', '.join('N' if size is None else str(size) for size in shape)})"
    if not isinstance(array, np.ndarray):
        raise UnreadableArrayError(f"must hold one array, {wanted}")
    fits = array.ndim == len(shape) and all(
        wish in (None, size) for size, wish in zip(array.shape, shape, strict=True)
    )
    if array.dtype != np.dtype(kind) or not fits:
        raise UnreadableArrayError(f"must be {wanted}, but is {array.dtype} {array.shape}")
    return array


@contextmanager
def opened_arrays(path: Path) -> Iterator[Arrays]:
    """Open a .npz.

    Raises:
        FileNotFoundError: it is not there.
        UnreadableArrayError: no .npz.
    """
    if path.is_file() and not zipfile.is_zipfile(path):
        raise UnreadableArrayError("no .npz archive")
    # opened here: numpy leaves a file open that it cannot read
    with path.open("rb") as stream, _read(lambda: np.load(stream, allow_pickle=False)) as archive:
        yield Arrays(archive)


class Arrays:
    """The arrays of an open .npz, read one by one.

    Args:
        archive: numpy's.
    """

    def __init__(self, archive: Any) -> None:
        self._archive = archive
        self.names: Sequence[str] = archive.files

    def __getitem__(self, name: str) -> Array:
        """One of them.

        Raises:
            UnreadableArrayError: there is none of that name, or it is damaged.
        """
        if name not in self.names:
            raise UnreadableArrayError(f"holds no array {name!r}")
        array = _read(lambda: self._archive[name])
        if not isinstance(array, np.ndarray):
            raise UnreadableArrayError(f"{name!r} is no array")
        if array.dtype.kind == "U" and not _is_text(array):
            raise UnreadableArrayError(f"{name!r} holds characters that do not exist")
        return array


def _read(act: Callable[[], T]) -> T:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            return act()
    except FileNotFoundError:
        raise
    except MemoryError:
        raise UnreadableArrayError("does not fit into memory") from None
    except Exception as error:  # a damaged header is parsed as Python's syntax, and fails as that may
        if "allow_pickle" in str(error):
            raise PickledArrayError("holds Python objects, which are not read: they could run code") from None
        raise UnreadableArrayError(one_line(error, 120) or type(error).__name__) from None


def _is_text(array: Array) -> bool:
    """Numpy takes any four bytes for a character; Python does not."""
    codes = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("=")).reshape(-1).view(np.uint32)
    return not len(codes) or int(codes.max()) <= 0x10FFFF
