"""Which part of a picture becomes the face, and how it is resampled.

Points are in pixels, the centre of the first pixel at (0, 0), as MTCNN and the ArcFace template have them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Points = NDArray[np.float64]

# ArcFace's template for 112 x 112: eyes, nose, corners of the mouth (Deng et al. 2019, arXiv 1801.07698; the
# figures are those of insightface, python-package/insightface/utils/face_align.py).
TEMPLATE_PX = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
# LFW's faces with facenet's margin of 32 px take 0.6 of the side of their 250 px pictures.
CENTRE = 0.6


def crop_box(
    image: Image.Image, box: tuple[float, float, float, float], *, margin_px: int, size_px: int
) -> Image.Image:
    """The crop of facenet: half the margin on each side, in the picture's own pixels, cut off at its border.

    What is left is stretched to a square. (The margin of facenet-pytorch is in pixels of the *output*.)

    Source: facenet, src/align/align_dataset_mtcnn.py at 096ed770.
    """
    x1, y1, x2, y2 = box
    half = margin_px / 2
    left, top = int(max(x1 - half, 0)), int(max(y1 - half, 0))
    right, bottom = int(min(x2 + half, image.width)), int(min(y2 + half, image.height))
    # a box that hardly touches the picture still gives one pixel
    left, top = min(left, image.width - 1), min(top, image.height - 1)
    area = (left, top, max(right, left + 1), max(bottom, top + 1))
    return image.crop(area).resize((size_px, size_px), Image.Resampling.BILINEAR)


def crop_centre(image: Image.Image, *, size_px: int, part: float) -> Image.Image:
    """The middle square, `part` of the shorter side wide."""
    side = max(1.0, min(image.size) * part)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((size_px, size_px), Image.Resampling.BILINEAR, (left, top, left + side, top + side))


def template(size_px: int) -> Points:
    """ArcFace's five points for a square of size_px, (5, 2)."""
    return TEMPLATE * (size_px / TEMPLATE_PX)


def similarity(source: Points, target: Points) -> NDArray[np.float64]:
    """Least-squares similarity (rotation, one scale, shift; never a mirror image) from source to target.

    Shape:
        source, target: (N, 2); returns (2, 3): x' = M[:, :2] x + M[:, 2].

    Raises:
        ValueError: the source's points are one point, or not finite.

    Source: Umeyama, IEEE PAMI 13(4) 1991, equations 34 to 43.
    """
    source_mean, target_mean = source.mean(0), target.mean(0)
    centred = source - source_mean
    variance = float(np.square(centred).sum() / len(source))
    if not np.isfinite(variance) or variance < 1e-12:
        raise ValueError("five points in one place, or not finite, give no alignment")
    covariance = (target - target_mean).T @ centred / len(source)
    u, singular, v_transposed = np.linalg.svd(covariance)
    sign = np.array([1.0, 1.0 if np.linalg.det(u) * np.linalg.det(v_transposed) > 0 else -1.0])
    rotation = (u * sign) @ v_transposed
    scale = float(singular @ sign) / variance
    matrix = scale * rotation
    return np.column_stack([matrix, target_mean - matrix @ source_mean])


def warp(image: Image.Image, matrix: NDArray[np.float64], *, size_px: int) -> Image.Image:
    """What lands in a square of size_px under `matrix` (2, 3); black where the picture ends.

    A picture that becomes much smaller is first shrunk by a whole factor, each pixel the mean of what it
    covers: interpolation alone would leave most of its pixels out.

    Raises:
        ValueError: nothing of the picture would be left.
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    factor = max(1, int(1 / scale)) if scale > 0 else 1
    if scale <= 0 or factor >= min(image.size):
        raise ValueError("five points so far apart, or so far out, give no alignment")
    # Pillow's coordinates have the centre of the first pixel at (0.5, 0.5)
    forward = np.vstack([matrix, [0, 0, 1]])
    to_corner, from_corner = _shift(0.5), _shift(-0.5)
    backward = to_corner @ np.linalg.inv(forward) @ from_corner
    if factor > 1:
        image = image.reduce(factor)
        backward = np.diag([1 / factor, 1 / factor, 1]) @ backward
    coefficients = tuple(backward[:2].ravel().tolist())
    return image.transform(
        (size_px, size_px), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )


def _shift(by: float) -> NDArray[np.float64]:
    return np.array([[1.0, 0.0, by], [0.0, 1.0, by], [0.0, 0.0, 1.0]])
