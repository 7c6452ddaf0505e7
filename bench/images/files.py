"""Many image files with the people they show, and how to read one of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError

# What counts as an image when nothing but a name says so. Its content is asked later.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"})
# The contact sheet that `bench align` leaves beside the faces.
_SHEET = re.compile(r"report(-\d+of\d+)?\.png")


class Blobs(Protocol):
    """Encoded images by number. Small enough to be sent to another process."""

    def read(self, index: int) -> bytes:
        """The content of one file.

        Raises:
            OSError: the file is gone, or ends too early.
        """
        ...

    def take(self, rows: NDArray[np.int64]) -> Blobs:
        """Some of them, in that order."""
        ...

    def num_bytes(self) -> int:
        """Of all of them, about."""
        ...


@dataclass(frozen=True, slots=True)
class PathBlobs:
    """Files below a folder."""

    root: Path
    paths: tuple[str, ...]

    def read(self, index: int) -> bytes:
        """The whole file."""
        return (self.root / self.paths[index]).read_bytes()

    def take(self, rows: NDArray[np.int64]) -> PathBlobs:
        """Some of them."""
        return PathBlobs(self.root, tuple(self.paths[row] for row in rows))

    def num_bytes(self) -> int:
        """What the file system says."""
        return sum((self.root / path).stat().st_size for path in self.paths)


@dataclass(frozen=True, slots=True, eq=False)
class SpanBlobs:
    """Pieces of one large file.

    Args:
        file: a tar, say.
        starts: (N,) int64, where each begins, in bytes.
        lengths: (N,) int64.
    """

    file: Path
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def read(self, index: int) -> bytes:
        """The bytes of one piece."""
        with self.file.open("rb") as stream:
            stream.seek(int(self.starts[index]))
            content = stream.read(int(self.lengths[index]))
        if len(content) < self.lengths[index]:
            raise OSError(f"{self.file} ends in the middle of it")
        return content

    def take(self, rows: NDArray[np.int64]) -> SpanBlobs:
        """Some of them."""
        return SpanBlobs(self.file, self.starts[rows], self.lengths[rows])

    def num_bytes(self) -> int:
        """All pieces."""
        return int(self.lengths.sum())


@dataclass(frozen=True, slots=True, eq=False)
class ImageFiles:
    """Labelled image files, sorted by identity and name.

    Args:
        source: folder or archive, for messages.
        identities: name of each label, sorted.
        labels: (N,) int64, ascending.
        names: `identity/file` of each image; the same wherever the source lies.
        blobs: their content.
        num_ignored: other files that were met, such as Thumbs.db.
    """

    source: Path
    identities: tuple[str, ...]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    blobs: Blobs
    num_ignored: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> ImageFiles:
        """Some of the images; identities and labels stay as they are."""
        names = tuple(self.names[row] for row in rows)
        return ImageFiles(
            self.source, self.identities, self.labels[rows], names, self.blobs.take(rows), self.num_ignored
        )


def is_image(path: str) -> bool:
    """Whether a file counts as an image, by its suffix.

    Hidden files do not (macOS puts `._a.jpg` into archives), nor does the report of `bench align`.
    """
    name = path.rpartition("/")[2]
    if name.startswith(".") or _SHEET.fullmatch(name):
        return False
    return Path(name).suffix.lower() in SUFFIXES


def by_identity(paths: Sequence[str], source: Path, option: str) -> tuple[list[int], list[str]]:
    """Find the level of the identities: the folders that hold the images, all equally deep.

    Args:
        paths: of images, with `/`, relative to the source.
        source: for messages.
        option: the setting that named it, for messages.

    Returns:
        The order of the paths by identity and name, and the identity of each path (not in that order).

    Raises:
        UserError: no images, images without a folder, folders at two depths, or two of one name.
    """
    if not paths:
        raise UserError(
            f"{option}: {source}: holds no images; expected IDENTITY/image.jpg (suffixes {_suffixes()})"
        )
    folders = {path.rpartition("/")[0] for path in paths}
    first_of_depth: dict[int, str] = {}
    folder_of: dict[str, str] = {}
    for folder in sorted(folders):
        if not folder:
            lost = min(path for path in paths if "/" not in path)
            raise UserError(
                f"{option}: {source}: {lost!r} is in no identity's folder; expected IDENTITY/image.jpg"
            )
        first_of_depth.setdefault(folder.count("/"), folder)
        other = folder_of.setdefault(folder.rpartition("/")[2], folder)
        if other != folder:
            raise UserError(
                f"{option}: {source}: two folders are called {folder.rpartition('/')[2]!r}: {other!r} and "
                f"{folder!r}; name the folder right above the identities"
            )
    if len(first_of_depth) > 1:
        above, below = (first_of_depth[depth] for depth in sorted(first_of_depth)[:2])
        raise UserError(
            f"{option}: {source}: images lie at two depths: in {above!r} and in {below!r}; which of them are "
            "identities? Name the folder right above the identities"
        )
    identities = [path.rpartition("/")[0].rpartition("/")[2] for path in paths]
    order = sorted(range(len(paths)), key=lambda index: (identities[index], paths[index]))
    return order, identities


def labelled(identities: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Sorted names, and the label of each image."""
    names = tuple(sorted(set(identities)))
    label_of = {name: label for label, name in enumerate(names)}
    return names, np.array([label_of[identity] for identity in identities], np.int64)


def fingerprint(parts: Sequence[tuple[str, int, int]]) -> str:
    """Hex digest of names, sizes and times of files: equal while nobody touches them."""
    digest = hashlib.sha256()
    for name, size, time_ns in parts:
        digest.update(f"{name!r} {size} {time_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _suffixes() -> str:
    return " ".join(sorted(SUFFIXES))
