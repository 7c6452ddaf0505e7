"""One face out of a photo as a loose square: what `bench verify` does with pictures that are no crops yet."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from PIL import Image

from bench.data.align.face import choose
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data.align.detector import Detector

# the square's side over the longer side of the detected box
BOX_FACTOR = 1.10


def crop_face(photo: Image.Image, *, name: str) -> Image.Image:
    """The face that the photo is of, as `choose` says.

    Args:
        photo: RGB.
        name: of the photo, for messages.

    Returns:
        A square of BOX_FACTOR x the longer side of the box around the box's centre, in the photo's own
        pixels; what lies outside of the photo is black.

    Raises:
        UserError: no face was found.
    """
    faces = _detector()(photo)
    if not faces:
        raise UserError(f"{name}: no face found; if the image is a face already, use --no-align")
    x1, y1, x2, y2 = choose(faces, photo.size).box
    half = BOX_FACTOR * max(x2 - x1, y2 - y1) / 2
    left, top = round((x1 + x2) / 2 - half), round((y1 + y2) / 2 - half)
    side = max(1, round(2 * half))
    return photo.crop((left, top, left + side, top + side))


@cache
def _detector() -> Detector:
    from bench.data.align.detector import Detector  # here, not above: facenet-pytorch takes seconds

    return Detector()
