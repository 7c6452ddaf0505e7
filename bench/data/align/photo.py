"""One face out of a photo that somebody holds up, cut out as the faces were that a threshold comes from."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from PIL import Image

from bench.data.align.face import Face, choose
from bench.data.align.geometry import crop_box, similarity, template, warp
from bench.errors import UserError
from bench.results import Alignment

if TYPE_CHECKING:
    from bench.data.align.detector import Detector

# the square's side over the longer side of the detected box, where nothing tells of an alignment
BOX_FACTOR = 1.10


def crop_face(photo: Image.Image, alignment: Alignment | None, *, name: str) -> Image.Image:
    """The face that the photo is of, as `choose` says.

    Args:
        photo: RGB.
        alignment: how to cut it out, as `bench align` would; None: a square of BOX_FACTOR x the longer side
            of the box around the box's centre, in the photo's own pixels. What lies outside is black.
        name: of the photo, for messages.

    Raises:
        UserError: no face was found.
    """
    faces = _detector()(photo)
    if not faces:
        raise UserError(f"{name}: no face found; if the image is a face already, use --no-align")
    face = choose(faces, photo.size)
    if alignment is None:
        return _square(photo, face)
    if alignment.method == "box":
        return crop_box(photo, face.box, margin_px=alignment.margin_px, size_px=alignment.size_px)
    try:
        matrix = similarity(face.landmarks, template(alignment.size_px))
        return warp(photo, matrix, size_px=alignment.size_px)
    except ValueError as error:
        raise UserError(f"{name}: {error}; if the image is a face already, use --no-align") from None


def _square(photo: Image.Image, face: Face) -> Image.Image:
    x1, y1, x2, y2 = face.box
    half = BOX_FACTOR * max(x2 - x1, y2 - y1) / 2
    left, top = round((x1 + x2) / 2 - half), round((y1 + y2) / 2 - half)
    side = max(1, round(2 * half))
    return photo.crop((left, top, left + side, top + side))


@cache
def _detector() -> Detector:
    from bench.data.align.detector import Detector  # here, not above: facenet-pytorch takes seconds

    return Detector()
