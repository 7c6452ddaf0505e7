"""Packed images: decoded once into a memory map that training gathers its batches from.

A pack is a folder:

    images.npy        (N, 3, size, size) uint8 RGB, sorted by identity and name
    labels.npy        (N,) int64
    identities.json   the name of each label
    names.json        `identity/file` of each image
    meta.json         counts, checksums, the source, what could not be read

Opening reads little of it, however many images there are: names come when they are asked for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from bench.data.faces import Images
from bench.errors import UserError, one_line
from bench.images import ImageFiles, decode_all, num_workers
from bench.results import Alignment
from bench.results.arrays import UnreadableArrayError, map_array

logger = logging.getLogger("bench.data")

IMAGES, LABELS, IDENTITIES, NAMES = "images.npy", "labels.npy", "identities.json", "names.json"
# Raise it whenever the same files would give other pixels, another order, or another manifest.
PACK_VERSION = 2
# Images under one checksum: 13 MB at 64 px, 79 MB at 160 px. So much is named when something is corrupt.
CHECKED_BLOCK = 1024
_SAY_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that is not in the pack.

    Args:
        name: `identity/file`.
        reason: such as "is empty".
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class PackManifest:
    """What meta.json says of a pack.

    Args:
        version: of this file.
        form: pixels (this module) or parquet (`encoded`).
        checksum: of all pixels and labels; the same wherever the source lay, whatever it was packed from.
        num_images: N.
        num_identities: with or without an image that could be read.
        size_px: height and width; None of encoded images.
        source: folder or archive that was packed, as its last name.
        blocks: sha256 of each CHECKED_BLOCK images of images.npy, or of each file of Parquet.
        labels: sha256 of the labels.
        unreadable: images of the source that could not be read.
        num_ignored: files of the source that are no images by their names.
        alignment: how `bench align` cut the faces out; None: nothing tells.
    """

    version: int
    form: str
    checksum: str
    num_images: int
    num_identities: int
    size_px: int | None
    source: str
    blocks: tuple[str, ...]
    labels: str
    unreadable: tuple[LeftOut, ...]
    num_ignored: int
    alignment: Alignment | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        alignment = self.alignment.model_dump() if self.alignment is not None else None
        return {**asdict(self), "alignment": alignment}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PackManifest:
        """What `to_json` gave, among other entries.

        Raises:
            ValueError: something else.
        """
        manifest: PackManifest = TypeAdapter(cls).validate_python(values)
        if manifest.num_images < 1 or (manifest.size_px is not None and manifest.size_px < 1):
            raise ValueError("counts and sizes are positive")
        return manifest


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """An open pack.

    Args:
        folder: where it lies.
        manifest: what it says of itself.
        images: (N, 3, H, W) uint8.
        labels: (N,) int64, ascending.
        identities: name of each label.
    """

    folder: Path
    manifest: PackManifest
    images: Images
    labels: NDArray[np.int64]
    identities: tuple[str, ...]

    def names(self) -> tuple[str, ...]:
        """`identity/file` of each image. Takes a second for some millions."""
        with named_damage(self.folder / NAMES):
            names = _names(self.folder / NAMES)
            if len(names) != self.manifest.num_images:
                raise UnreadableArrayError(f"has {len(names):,} names, not {self.manifest.num_images:,}")
        return names


def pack_bytes(num_images: int, size_px: int) -> int:
    """About how much a pack takes."""
    return num_images * (3 * size_px**2 + 128) + 2**20


def write_pack(folder: Path, files: ImageFiles, size_px: int, *, workers: int | None = None) -> PackManifest:
    """Decode every file into `folder`. What cannot be read is left out, and listed in the manifest.

    Args:
        folder: exists, and is empty.
        files: what to pack.
        size_px: height and width.
        workers: processes; None takes the CPUs there are.

    Raises:
        UserError: nothing could be read.
        OSError: the disk is full, say.
    """
    progress = PackProgress(len(files), f"at {size_px} px")
    kept: list[NDArray[np.int64]] = []
    unreadable: list[LeftOut] = []
    digests = _BlockDigests()
    with (folder / IMAGES).open("wb") as stream:
        # Written as a stream, not through a memory map: a full disk is then an error and not a bus fault.
        _write_header(stream, len(files), size_px)
        for part in decode_all(files.blobs, len(files), size_px, workers=workers or num_workers()):
            stream.write(part.pixels.data)
            digests.update(part.pixels)
            kept.append(part.rows)
            unreadable += [LeftOut(files.names[row], reason) for row, reason in part.failures]
            progress.say(part.stop)
        rows = np.concatenate(kept)
        if not len(rows):
            worst = unreadable[0]
            raise UserError(
                f"{files.source}: none of its {len(files):,} images can be read; "
                f"the first: {worst.name} {worst.reason}"
            )
        stream.seek(0)
        _write_header(stream, len(rows), size_px)  # numpy leaves room for a count of any length
    labels = files.labels[rows]
    np.save(folder / LABELS, labels)
    write_json(folder / IDENTITIES, files.identities)
    write_json(folder / NAMES, [files.names[row] for row in rows])
    blocks = digests.finish()
    progress.finish(len(unreadable))
    return PackManifest(
        version=PACK_VERSION,
        form="pixels",
        checksum=pack_checksum(blocks, labels_digest(labels), size_px),
        num_images=len(rows),
        num_identities=len(files.identities),
        size_px=size_px,
        source=files.source.name,
        blocks=blocks,
        labels=labels_digest(labels),
        unreadable=tuple(unreadable),
        num_ignored=files.num_ignored,
    )


def open_pack(folder: Path, manifest: PackManifest) -> Pack:
    """Map the files of a whole pack.

    Raises:
        UserError: they are not what the manifest says; names the file.
    """
    size = manifest.size_px
    assert size is not None, "encoded images are opened elsewhere"
    with named_damage(folder / IMAGES):
        images = map_array(folder / IMAGES, kind="uint8", shape=(manifest.num_images, 3, size, size))
    return Pack(folder, manifest, images, *read_people(folder, manifest))


def read_people(folder: Path, manifest: PackManifest) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels (N,) ascending, and the name of each label.

    Raises:
        UserError: they are damaged; names the file.
    """
    with named_damage(folder / IDENTITIES):
        identities = _names(folder / IDENTITIES)
    with named_damage(folder / LABELS):
        labels: NDArray[np.int64] = map_array(folder / LABELS, kind="int64", shape=(manifest.num_images,))
        if len(labels) and not (labels[0] >= 0 and labels[-1] < len(identities)):
            raise UnreadableArrayError(f"must lie in 0 to {len(identities) - 1}, as there are people")
        if np.any(labels[1:] < labels[:-1]):
            raise UnreadableArrayError("must ascend")
    return labels, identities


@contextmanager
def named_damage(path: Path) -> Iterator[None]:
    """What is wrong with a file of a pack, as a message that names it.

    Raises:
        UserError: in place of UnreadableArrayError.
    """
    try:
        yield
    except (UnreadableArrayError, FileNotFoundError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else str(error)
        raise UserError(f"{path}: is damaged: {reason}; copy the pack again, or pack it anew") from None


def _names(path: Path) -> tuple[str, ...]:
    try:
        names = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnreadableArrayError(f"not JSON ({one_line(error, 80)})") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UnreadableArrayError("must be a list of names")
    return tuple(names)


def pack_checksum(blocks: tuple[str, ...], labels: str, size_px: int | None) -> str:
    """Hex digest of a whole pack, from those of its parts."""
    return hashlib.sha256("\n".join((str(size_px), labels, *blocks)).encode()).hexdigest()


def labels_digest(labels: NDArray[np.int64]) -> str:
    """sha256 of labels, the same on every machine."""
    return hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()


def block_digests(images: Images) -> Iterator[tuple[int, str]]:
    """First row and sha256 of each block, as they are on the disk now."""
    for start in range(0, len(images), CHECKED_BLOCK):
        block = images[start : start + CHECKED_BLOCK]
        yield start, hashlib.sha256(np.ascontiguousarray(block).data).hexdigest()


class _BlockDigests:
    """sha256 of every CHECKED_BLOCK images of a stream that comes in other pieces."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._open = hashlib.sha256()
        self._count = 0

    def update(self, pixels: NDArray[np.uint8]) -> None:
        while len(pixels):
            part = pixels[: CHECKED_BLOCK - self._count]
            self._open.update(part.data)
            self._count += len(part)
            pixels = pixels[len(part) :]
            if self._count == CHECKED_BLOCK:
                self._close()

    def finish(self) -> tuple[str, ...]:
        if self._count:
            self._close()
        return tuple(self._done)

    def _close(self) -> None:
        self._done.append(self._open.hexdigest())
        self._open, self._count = hashlib.sha256(), 0


class PackProgress:
    """Lines in the log: how many, how fast, how long still."""

    def __init__(self, total: int, how: str) -> None:
        self._total = total
        self._began = self._said = time.monotonic()
        logger.info("packing %s images %s", f"{total:,}", how)

    def say(self, done: int) -> None:
        """`done` images have been looked at."""
        now = time.monotonic()
        if now - self._said < _SAY_EVERY_S:
            return
        self._said = now
        rate = done / (now - self._began)
        left = (self._total - done) / rate
        logger.info(
            "packed %s of %s images, %s images/s, %.0f s left",
            *(f"{number:,.0f}" for number in (done, self._total, rate)),
            left,
        )

    def finish(self, num_unreadable: int) -> None:
        """All have."""
        seconds = time.monotonic() - self._began
        logger.info(
            "packed %s images in %.1f s; %s could not be read",
            f"{self._total - num_unreadable:,}",
            seconds,
            f"{num_unreadable:,}",
        )


def _write_header(stream: Any, count: int, size_px: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, size_px, size_px)}
    np.lib.format.write_array_header_1_0(stream, header)


def write_json(path: Path, values: object) -> None:
    """A list of names."""
    # ASCII: names of files need not be UTF-8, and come back as they were
    path.write_text(json.dumps(values) + "\n")
