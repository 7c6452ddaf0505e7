"""Small sources of pictures: rendered faces, which MTCNN finds, and files of every bad kind."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.rendered.render import render
from bench.data.rendered.streams import Split

SIZE_PX = 96


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope="session")
def faces() -> list[Image.Image]:
    """Six rendered people, one passport photo each."""
    pictures = render(0, Split.TEST, range(6), [0] * 6, size_px=SIZE_PX, difficulty=0.0, threads=1)
    return [Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))) for picture in pictures]


@pytest.fixture
def people(tmp_path: Path, faces: list[Image.Image]) -> Path:
    """A folder identity/picture of three people, two pictures each."""
    root = tmp_path / "people"
    for number, face in enumerate(faces):
        name = f"Person_{number // 2}"
        path = root / name / f"{name}_{number % 2 + 1:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(face))
    return root


Pack = Callable[..., Path]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Write an archive of (name, bytes)."""

    def call(members: dict[str, bytes], name: str = "people.tar", mode: str = "w") -> Path:
        path = tmp_path / name
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            for member, content in members.items():
                header = tarfile.TarInfo(member)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
        return path

    return call
