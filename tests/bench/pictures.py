"""Folders and tars of small pictures that tests make for themselves."""

from __future__ import annotations

import io
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def picture(name: str, *, size: tuple[int, int] = (24, 24)) -> Image.Image:
    """A picture of its own for each name: soft blobs of colour, so that JPEG keeps it nearly as it is."""
    generator = np.random.default_rng(zlib.crc32(name.encode("utf-8", "surrogateescape")))
    coarse = generator.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """The picture as a file's content."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def write_people(root: Path, counts: dict[str, int], *, suffix: str = ".jpg") -> Path:
    """`root/NAME/NAME_0001.jpg` and so on."""
    for person, count in counts.items():
        (root / person).mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            name = f"{person}_{number:04d}"
            kind = "PNG" if suffix == ".png" else "JPEG"
            (root / person / f"{name}{suffix}").write_bytes(encoded(picture(name), kind))
    return root


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """A tar with these files in this order."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def as_tar(root: Path, path: Path, *, prefix: str) -> Path:
    """The files of a folder, in an order that is not sorted, below `prefix`."""
    files = sorted(root.rglob("*.*"), reverse=True)
    return write_tar(path, {f"{prefix}{file.relative_to(root)}": file.read_bytes() for file in files})
