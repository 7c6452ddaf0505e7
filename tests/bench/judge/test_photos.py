"""A photo becomes the pixels that `bench align` would make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.judge import photos

from ..pictures import encoded, picture


@pytest.fixture(autouse=True)
def no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole photo is the face."""
    monkeypatch.setattr(photos, "crop_face", lambda photo, alignment, *, name: photo)


def test_sixteen_bits_are_not_cut_off(tmp_path: Path) -> None:
    grey = np.asarray(picture("face", size=(32, 32)).convert("L"))
    deep = tmp_path / "deep.png"
    deep.write_bytes(encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"))
    np.testing.assert_array_equal(photos.face_pixels(deep, 32, None, align=True)[0], grey)


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    clear = tmp_path / "clear.png"
    clear.write_bytes(encoded(Image.new("RGBA", (32, 32), (200, 0, 0, 0)), "PNG"))
    assert (photos.face_pixels(clear, 32, None, align=True) == 255).all()
