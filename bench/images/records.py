r"""insightface's training sets: `train.rec`, `train.idx`, `property`, without mxnet.

A .rec is a row of records, each padded to four bytes:

    magic   uint32   0xced7230a
    size    uint32   upper three bits: 0 whole, 1 first part, 2 middle, 3 last; the rest: bytes of data
    data    bytes    parts are joined by the magic number, which is where the writer cut them

The data of a record is `flag uint32, label float32, id uint64, id2 uint64`, then `flag` float32 labels if
there are any (the first is the person then), then the image file. A .idx has lines `key<TAB>offset`.
Record 0 with labels (last + 1, ...) is no image but says that keys 1 to last are; what follows lists people.
All numbers are little-endian.

Source: dmlc-core, include/dmlc/recordio.h; mxnet, python/mxnet/recordio.py (`IRHeader`, format `IfQQ`).
"""

from __future__ import annotations

import logging
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.images.files import ImageFiles

logger = logging.getLogger("bench.data")

MAGIC = 0xCED7230A
_WORDS = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LENGTH_BITS = 29
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


class Header(NamedTuple):
    """What stands before the image in a record.

    Args:
        labels: one or more numbers; of images the first is the person.
        is_list: the labels are a list of their own, as in record 0 and in the records of people.
        payload: bytes from here to the image.
    """

    labels: tuple[float, ...]
    is_list: bool
    payload: int


@dataclass(frozen=True, slots=True, eq=False)
class RecordBlobs:
    """The images of a .rec.

    Args:
        file: the .rec.
        offsets: (N,) int64, where each record begins, in bytes.
    """

    file: Path
    offsets: NDArray[np.int64]

    def read(self, index: int) -> bytes:
        """The image file in a record."""
        with self.file.open("rb") as stream:
            stream.seek(int(self.offsets[index]))
            record = read_record(stream)
        return record[parse_header(record).payload :]

    def take(self, rows: NDArray[np.int64]) -> RecordBlobs:
        """Some of them."""
        return RecordBlobs(self.file, self.offsets[rows])

    def num_bytes(self) -> int:
        """Of the file: nearly all of it is images."""
        return self.file.stat().st_size


def is_records(path: Path) -> bool:
    """Whether a path is a .rec, or a folder that holds train.rec."""
    return path.suffix == ".rec" or (path / "train.rec").is_file()


def list_records(path: Path, option: str) -> ImageFiles:
    """The images of a .rec, in the order of people and keys.

    Args:
        path: the .rec, or the folder of train.rec; the .idx lies beside it.
        option: the setting that named it, for messages.

    Raises:
        UserError: a file is missing or damaged; names it and the record.
    """
    rec = path if path.suffix == ".rec" else path / "train.rec"
    index = rec.with_suffix(".idx")
    offset_of = _read_index(index, option)
    people: list[int] = []
    keys: list[int] = []
    try:
        with rec.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for key in _image_keys(data, offset_of):
                header = _header_at(data, offset_of[key])
                people.append(int(header.labels[0]))
                keys.append(key)
    except (_DamagedError, struct.error) as error:
        raise UserError(f"{option}: {rec}: is no insightface .rec, or a damaged one: {error}") from None
    except (OSError, ValueError) as error:  # mmap's word for an empty file is ValueError
        raise UserError(f"{option}: {rec}: cannot be read ({error})") from None
    if not keys:
        raise UserError(f"{option}: {rec}: holds no images")
    order = np.lexsort((np.array(keys), np.array(people)))
    found, labels = np.unique(np.array(people, np.int64)[order], return_inverse=True)
    _compare_with_property(rec.parent / "property", len(found))
    width = max(7, len(str(found[-1])))
    identities = tuple(f"{person:0{width}d}" for person in found)
    names = tuple(f"{identities[label]}/{keys[row]:08d}" for label, row in zip(labels, order, strict=True))
    offsets = np.array([offset_of[keys[row]] for row in order], np.int64)
    return ImageFiles(rec, identities, labels.astype(np.int64), names, RecordBlobs(rec, offsets))


def read_record(stream: BinaryIO) -> bytes:
    """The record that begins here, its parts joined.

    Raises:
        OSError: no record begins here, or the file ends in the middle of it.
    """
    joined = b""
    while True:
        words = stream.read(_WORDS.size)
        magic, size = _WORDS.unpack(words) if len(words) == _WORDS.size else (0, 0)
        if magic != MAGIC:
            raise OSError("no record begins where the index says")
        part, length = size >> _LENGTH_BITS, size & ((1 << _LENGTH_BITS) - 1)
        content = stream.read(length)
        if len(content) < length:
            raise OSError("the file ends in the middle of it")
        stream.seek(-length % 4, 1)
        joined += content
        if part in (_WHOLE, _LAST):
            return joined
        joined += _WORDS.pack(MAGIC, 0)[:4]


def parse_header(record: bytes) -> Header:
    """The header of a record.

    Raises:
        OSError: shorter than a header.
    """
    if len(record) < _HEADER.size:
        raise OSError("its header is cut off")
    flag, label, _, _ = _HEADER.unpack_from(record)
    if flag == 0:
        return Header((label,), False, _HEADER.size)
    if len(record) < _HEADER.size + 4 * flag:
        raise OSError("its labels are cut off")
    labels = struct.unpack_from(f"<{flag}f", record, _HEADER.size)
    return Header(labels, True, _HEADER.size + 4 * flag)


class _DamagedError(ValueError):
    """Not what the format says."""


def _image_keys(data: mmap.mmap, offset_of: dict[int, int]) -> Iterator[int]:
    """Keys of images: those that record 0 names, or all where there is no such list."""
    if 0 in offset_of:
        first = _header_at(data, offset_of[0])
        if first.is_list:
            last = int(first.labels[0])
            missing = next((key for key in range(1, last) if key not in offset_of), None)
            if missing is not None:
                raise _DamagedError(
                    f"record 0 promises images 1 to {last - 1}, but the index lacks {missing}"
                )
            yield from range(1, last)
            return
    yield from sorted(offset_of)


def _header_at(data: mmap.mmap, offset: int) -> Header:
    """Read a header without its image: labels fit into the first part whatever happens."""
    if offset + _WORDS.size + _HEADER.size > len(data):
        raise _DamagedError(f"the index points to byte {offset:,}, but it ends at {len(data):,}")
    magic, _ = _WORDS.unpack_from(data, offset)
    if magic != MAGIC:
        raise _DamagedError(f"no record begins at byte {offset:,}, where the index says")
    start = offset + _WORDS.size
    (flag,) = struct.unpack_from("<I", data, start)
    if flag > 64 and flag * 4 > len(data):
        raise _DamagedError(f"the record at byte {offset:,} claims {flag:,} labels")
    return parse_header(data[start : start + _HEADER.size + 4 * flag])


def _read_index(path: Path, option: str) -> dict[int, int]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        raise UserError(f"{option}: {path}: does not exist; it belongs beside the .rec") from None
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{option}: {path}: cannot be read as an index of a .rec") from None
    offset_of: dict[int, int] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if len(words) != 2 or not all(word.isdecimal() for word in words):
            raise UserError(f"{option}: {path}:{number}: must be 'key<TAB>offset', got {line[:60]!r}")
        offset_of[int(words[0])] = int(words[1])
    return offset_of


def _compare_with_property(path: Path, num_people: int) -> None:
    """`people,height,width`: worth a word when it says otherwise."""
    if not path.is_file():
        return
    promised = path.read_text(errors="replace").split(",")[0].strip()
    if promised.isdecimal() and int(promised) != num_people:
        logger.warning("%s: promises %s people, but the records show %s", path, promised, num_people)
