"""One face out of a photo: found by MTCNN, cut out as a square."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bench.errors import UserError

if TYPE_CHECKING:
    from facenet_pytorch import MTCNN

# the square's side over the longer side of the detected box
BOX_FACTOR = 1.10
# MTCNN cannot work on less
_LEAST_PX = 40


def crop_face(photo: Image.Image, *, name: str) -> Image.Image:
    """The face that is largest after subtracting twice its squared offset from the middle of the photo.

    Args:
        photo: RGB.
        name: of the photo, for messages.

    Returns:
        A square of BOX_FACTOR x the longer side of the box around the box's centre, in the photo's own
        pixels; what lies outside of the photo is black.

    Raises:
        UserError: no face was found.
    """
    boxes = _detector().detect(photo)[0] if min(photo.size) >= _LEAST_PX else None
    if boxes is None or not len(boxes):
        raise UserError(f"{name}: no face found; if the image is a face already, use --no-align")
    boxes = np.asarray(boxes, dtype=np.float64)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = boxes[:, 2:] - boxes[:, :2]
    offsets = centers - np.array(photo.size) / 2
    best = int(np.argmax(sides.prod(axis=1) - 2 * np.square(offsets).sum(axis=1)))
    half = BOX_FACTOR * sides[best].max() / 2
    left, top = np.round(centers[best] - half).astype(int)
    side = max(1, round(2 * half))
    return photo.crop((int(left), int(top), int(left) + side, int(top) + side))


@cache
def _detector() -> MTCNN:
    from facenet_pytorch import MTCNN  # here, not above: it imports torchvision

    # all faces, or a photo without one raises; the choice is made above
    return MTCNN(keep_all=True, device="cpu")
