"""A face that was found, which of several is meant, and what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# An offset from the centre of d px costs as much as 2 d^2 px^2 of area (facenet's align_dataset_mtcnn.py).
OFFSET_WEIGHT = 2.0
# MTCNN accepts from 0.7 on. Five of 7,701 faces of LFW lie below 0.95, and 41 of 22,895 of CelebA.
LOW_CONFIDENCE = 0.95
# At 160 px such a face is four times enlarged: mostly interpolation.
TINY_PX = 40
# A second face of half the area may be the one that the picture is of.
RIVAL_AREA = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face, in pixels of its picture.

    Args:
        box: x1, y1, x2, y2; may reach out of the picture.
        confidence: MTCNN's, 0 to 1.
        landmarks: (5, 2) float64: eyes, nose, corners of the mouth, in the picture left to right.
    """

    box: tuple[float, float, float, float]
    confidence: float
    landmarks: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Of the box, px^2."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    @property
    def shorter_side(self) -> float:
        """Of the box, px."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])


def choose(faces: Sequence[Face], size: tuple[int, int]) -> Face:
    """The face that the picture is of: the largest, less twice its squared offset from the centre.

    Args:
        faces: at least one.
        size: width and height of the picture.
    """
    middle = np.array(size) / 2

    def weight(face: Face) -> float:
        x1, y1, x2, y2 = face.box
        offset = np.array([x1 + x2, y1 + y2]) / 2 - middle
        return face.area - OFFSET_WEIGHT * float(offset @ offset)

    return max(faces, key=weight)


def doubts(face: Face, faces: Sequence[Face]) -> tuple[str, ...]:
    """Why a person should look at this face; usually nothing.

    Args:
        face: the chosen one.
        faces: all that were found, the chosen one among them.
    """
    found = []
    if face.confidence < LOW_CONFIDENCE:
        found.append("low confidence")
    if face.shorter_side < TINY_PX:
        found.append("tiny face")
    if any(
        other is not face and other.confidence >= LOW_CONFIDENCE and other.area >= RIVAL_AREA * face.area
        for other in faces
    ):
        found.append("several faces")
    return tuple(found)
