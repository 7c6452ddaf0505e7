"""Packs of encoded images, for sets that are too large to be decoded: Parquet, which many tools read.

    part-00000.parquet ...   columns `identity` (text), `label` (int64), `name` (text), `image` (bytes)
    offsets.npy              (N, 3) int64: part, first byte, length of each image
    labels.npy, identities.json, names.json, meta.json   as in a pack of pixels

The image column is neither compressed nor dictionary-encoded, and a row group's images are one page: by
Parquet's PLAIN encoding each image then lies in one piece, after its length. So training reads single images
at their offsets, in any order, without reading the pages around them; all other readers see plain Parquet.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.pack import (
    IDENTITIES,
    LABELS,
    NAMES,
    PACK_VERSION,
    LeftOut,
    Pack,
    PackManifest,
    PackProgress,
    labels_digest,
    named_damage,
    pack_checksum,
    read_people,
    write_json,
)
from bench.errors import BenchError, UserError
from bench.images import ImageFiles, UnreadableImageError, decode_all, decode_image, num_workers
from bench.results.arrays import map_array

logger = logging.getLogger("bench.data")

OFFSETS = "offsets.npy"
GROUPS_IN_PART = 64  # of 256 images, 160 MB at 10 KB each: so much is named when something is corrupt
_LENGTH = struct.Struct("<I")
_PROBE_PX = 16  # every image is decoded once to see that it can be; to this size, which costs least


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImages:
    """Looks like (N, 3, size, size) uint8; decodes what is asked for.

    Args:
        folder: of the parts.
        offsets: (N, 3) int64: part, first byte, length.
        size_px: height and width.
    """

    folder: Path
    offsets: NDArray[np.int64]
    size_px: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, H, W)."""
        return (len(self.offsets), 3, self.size_px, self.size_px)

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, rows: slice | NDArray[np.int64], /) -> NDArray[np.uint8]:
        chosen = np.arange(len(self))[rows]
        # Pixel by pixel, as decoders give them: channel by channel would cost a tenth of decoding.
        pixels = np.empty((len(chosen), self.size_px, self.size_px, 3), np.uint8).transpose(0, 3, 1, 2)
        for place, row in enumerate(chosen):
            part, start, length = (int(number) for number in self.offsets[row])
            file = self.folder / part_name(part)
            try:
                if min(part, start, length) < 0:
                    raise OSError(f"lies at {start:,} and is {length:,} bytes long, by its offsets")
                with file.open("rb") as stream:
                    stream.seek(start)
                    pixels[place] = decode_image(stream.read(length), self.size_px)
            except (OSError, UnreadableImageError, OverflowError, MemoryError) as error:
                raise BenchError(
                    f"{file}: image {row:,} {error}; it could be read when it was packed: check with "
                    f"'bench data verify {self.folder}'"
                ) from error
        return pixels


def part_name(part: int) -> str:
    """`part-00000.parquet`."""
    return f"part-{part:05d}.parquet"


def write_encoded(folder: Path, files: ImageFiles, *, workers: int | None = None) -> PackManifest:
    """Copy every image file that can be decoded into Parquet. What cannot is listed in the manifest.

    Args:
        folder: exists, and is empty.
        files: what to pack.
        workers: processes; None takes the CPUs there are.

    Raises:
        UserError: nothing could be read.
        OSError: the disk is full, say.
    """
    progress = PackProgress(len(files), "as they are")
    kept: list[NDArray[np.int64]] = []
    unreadable: list[LeftOut] = []
    writer = _Writer(folder)
    with writer:
        for part in decode_all(files.blobs, len(files), _PROBE_PX, workers=workers or num_workers()):
            writer.write(files, part.rows)
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
    labels = files.labels[rows]
    np.save(folder / LABELS, labels)
    np.save(folder / OFFSETS, np.concatenate(writer.offsets))
    write_json(folder / IDENTITIES, files.identities)
    write_json(folder / NAMES, [files.names[row] for row in rows])
    progress.finish(len(unreadable))
    blocks = tuple(file_digest(path) for path in sorted(folder.glob("part-*.parquet")))
    return PackManifest(
        version=PACK_VERSION,
        form="parquet",
        checksum=pack_checksum((writer.content.hexdigest(),), labels_digest(labels), None),
        num_images=len(rows),
        num_identities=len(files.identities),
        size_px=None,
        source=files.source.name,
        blocks=blocks,
        labels=labels_digest(labels),
        unreadable=tuple(unreadable),
        num_ignored=files.num_ignored,
    )


def open_encoded(folder: Path, manifest: PackManifest, size_px: int) -> Pack:
    """Map the offsets; images are decoded when they are asked for."""
    with named_damage(folder / OFFSETS):
        offsets = map_array(folder / OFFSETS, kind="int64", shape=(manifest.num_images, 3))
    return Pack(folder, manifest, EncodedImages(folder, offsets, size_px), *read_people(folder, manifest))


def file_digest(path: Path) -> str:
    """sha256 of a whole file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _Writer:
    """Writes row groups, part after part, and remembers where each image lies."""

    def __init__(self, folder: Path) -> None:
        import pyarrow

        self._folder = folder
        self._schema = pyarrow.schema(
            [
                pyarrow.field("identity", pyarrow.string(), nullable=False),
                pyarrow.field("label", pyarrow.int64(), nullable=False),
                pyarrow.field("name", pyarrow.string(), nullable=False),
                pyarrow.field("image", pyarrow.binary(), nullable=False),
            ]
        )
        self._part = -1
        self._groups = 0
        self._writer: Any = None
        self._lengths: list[list[int]] = []
        self.offsets: list[NDArray[np.int64]] = []
        self.content = hashlib.sha256()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def write(self, files: ImageFiles, rows: NDArray[np.int64]) -> None:
        """One row group."""
        import pyarrow

        if not len(rows):
            return
        if self._groups % GROUPS_IN_PART == 0:
            self._close()
            self._open()
        self._groups += 1
        images = [files.blobs.read(int(row)) for row in rows]
        for image in images:
            self.content.update(hashlib.sha256(image).digest())
        labels = files.labels[rows]
        identities = [_text(files.identities[label]) for label in labels]
        names = [_text(files.names[row]) for row in rows]
        table = pyarrow.table([identities, labels, names, images], schema=self._schema)
        self._writer.write_table(table, row_group_size=len(rows))
        self._lengths.append([len(image) for image in images])

    def _open(self) -> None:
        from pyarrow import parquet

        self._part += 1
        self._writer = parquet.ParquetWriter(
            self._folder / part_name(self._part),
            self._schema,
            compression="none",
            use_dictionary=["identity", "label"],
            write_statistics=["identity", "label"],
            data_page_size=2**30,
        )

    def _close(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        self.offsets += _image_offsets(self._folder / part_name(self._part), self._part, self._lengths)
        self._lengths = []


def _text(name: str) -> str:
    """Names of files need not be UTF-8; text in Parquet must be. names.json has them as they are."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _image_offsets(path: Path, part: int, lengths: list[list[int]]) -> list[NDArray[np.int64]]:
    """Where the images of each row group lie: at the end of their column, each after its length."""
    from pyarrow import parquet

    metadata = parquet.read_metadata(path)
    found = []
    with path.open("rb") as stream:
        for group, own in enumerate(lengths):
            column = metadata.row_group(group).column(3)
            end = column.data_page_offset + column.total_compressed_size
            sizes = np.array(own, np.int64)
            starts = end - np.cumsum((sizes + _LENGTH.size)[::-1])[::-1] + _LENGTH.size
            for start, size in zip(starts, own, strict=True):
                stream.seek(int(start) - _LENGTH.size)
                if _LENGTH.unpack(stream.read(_LENGTH.size)) != (size,):
                    raise BenchError(f"{path}: this pyarrow lays images out otherwise than in one piece")
            found.append(np.stack([np.full(len(own), part), starts, sizes], axis=1).astype(np.int64))
    return found
