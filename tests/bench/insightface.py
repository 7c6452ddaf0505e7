"""Writes insightface's formats, from their description and not with the code that reads them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

MAGIC = b"\x0a\x23\xd7\xce"


def record(content: bytes) -> bytes:
    """One record; cut where the magic number would stand at a multiple of four bytes."""
    parts, start = [], 0
    for place in range(0, len(content) - 3, 4):
        if content[place : place + 4] == MAGIC:
            parts.append(content[start:place])
            start = place + 4
    parts.append(content[start:])
    written = b""
    for number, part in enumerate(parts):
        kind = 0 if len(parts) == 1 else 1 if number == 0 else 3 if number == len(parts) - 1 else 2
        written += MAGIC + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
    return written


def image_record(person: float, image: bytes, key: int, *, extra: Sequence[float] = ()) -> bytes:
    labels = (person, *extra) if extra else ()
    header = struct.pack("<IfQQ", len(labels), 0.0 if labels else person, key, 0)
    return record(header + struct.pack(f"<{len(labels)}f", *labels) + image)


def list_record(key: int, *labels: float) -> bytes:
    header = struct.pack("<IfQQ", len(labels), 0.0, key, 0)
    return record(header + struct.pack(f"<{len(labels)}f", *labels))


def write_records(folder: Path, images: Sequence[tuple[int, bytes]], *, extra: Sequence[float] = ()) -> Path:
    """train.rec, train.idx and property, for (person, image file) in this order."""
    folder.mkdir(parents=True, exist_ok=True)
    people = sorted({person for person, _ in images})
    first_person = len(images) + 1
    records = [list_record(0, first_person, first_person + len(people))]
    records += [
        image_record(person, image, key, extra=extra) for key, (person, image) in enumerate(images, start=1)
    ]
    for number, person in enumerate(people):
        keys = [key for key, (whose, _) in enumerate(images, start=1) if whose == person]
        records.append(list_record(first_person + number, keys[0], keys[-1] + 1))
    lines, offset = [], 0
    for key, content in enumerate(records):
        lines.append(f"{key}\t{offset}")
        offset += len(content)
    (folder / "train.rec").write_bytes(b"".join(records))
    (folder / "train.idx").write_text("\n".join(lines) + "\n")
    (folder / "property").write_text(f"{len(people)},112,112")
    return folder
