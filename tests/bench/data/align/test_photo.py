"""A face of a photo for `bench verify`: cut out as `bench align` cuts out the faces of a training set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.align import AlignSettings, align
from bench.data.align.photo import crop_face
from bench.errors import UserError
from bench.results import Alignment


@pytest.mark.parametrize(
    "settings",
    [
        AlignSettings(method="box", size_px=48, margin_px=12, format="png"),
        AlignSettings(method="five_point", size_px=56, margin_px=0, format="png"),
    ],
    ids=lambda settings: settings.method,
)
def test_it_is_the_face_that_align_writes_to_the_last_pixel(
    settings: AlignSettings, people: Path, tmp_path: Path
) -> None:
    assert align(people, tmp_path / "out", settings, devices=["cpu"]).counts["aligned"] >= 1
    photo = next(path for path in sorted(people.rglob("*.png")) if not path.name.startswith("."))
    written = tmp_path / "out" / photo.relative_to(people)
    face = crop_face(Image.open(photo).convert("RGB"), settings.alignment, name=photo.name)
    np.testing.assert_array_equal(np.asarray(face), np.asarray(Image.open(written)))


@pytest.mark.parametrize("alignment", [None, Alignment(method="five_point", size_px=112, margin_px=0)])
def test_a_photo_without_a_face_is_said(alignment: Alignment | None) -> None:
    with pytest.raises(UserError) as caught:
        crop_face(Image.new("RGB", (90, 90), (90, 120, 90)), alignment, name="wall.jpg")
    assert str(caught.value) == "wall.jpg: no face found; if the image is a face already, use --no-align"
