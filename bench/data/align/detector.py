"""Faces in one picture, by facenet-pytorch's MTCNN. The only file here that knows facenet-pytorch.

Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", IEEE SPL
2016, arXiv 1604.02878v1. Thresholds 0.6, 0.7, 0.7 and the pyramid's factor 0.709 are facenet's.
"""

from __future__ import annotations

import importlib.metadata

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image

from bench.data.align.face import Face
from bench.data.align.pooling import slice_pools

# P-Net looks at every position of every scale: 24 megapixels would take gigabytes, for faces of 20 px.
MAX_SIDE_PX = 1600
# The pyramid is empty below, and MTCNN raises.
MIN_FACE_PX = 20


class Detector:
    """MTCNN with its weights, which come with facenet-pytorch.

    Args:
        device: "cpu", "cuda:0", ...
        min_face_px: smallest face that is looked for, at least 20; also sets the scales of the pyramid, so
            that boxes move by a few pixels with it.
    """

    def __init__(self, device: str = "cpu", *, min_face_px: int = MIN_FACE_PX) -> None:
        self._min_face_px = min_face_px
        self._mtcnn = MTCNN(keep_all=True, min_face_size=min_face_px, device=torch.device(device))
        if self._mtcnn.device.type == "cpu":
            slice_pools(self._mtcnn)

    def __call__(self, image: Image.Image) -> list[Face]:
        """All faces of an RGB picture, the largest first."""
        scale = min(1.0, MAX_SIDE_PX / max(image.size))
        width, height = (max(1, round(side * scale)) for side in image.size)
        # facenet-pytorch raises on pictures in which not even one face of the smallest size has room
        if min(width, height) < self._min_face_px:
            return []
        seen = image if scale == 1.0 else image.resize((width, height), Image.Resampling.BILINEAR)
        try:
            boxes, confidences, landmarks = self._mtcnn.detect(seen, landmarks=True)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError):
            # every candidate lay outside of the picture: it joins an empty list, or masks of two lengths
            return []
        if boxes is None:
            return []
        per_px = np.array(image.size) / np.array(seen.size)
        corners = np.asarray(boxes, np.float64) * np.tile(per_px, 2)
        points = np.asarray(landmarks, np.float64) * per_px
        return [
            Face((box[0], box[1], box[2], box[3]), float(confidence), five)
            for box, confidence, five in zip(corners.tolist(), confidences, points, strict=True)
        ]


def detector_name() -> str:
    """For records: which detector, which version."""
    return f"MTCNN, facenet-pytorch {importlib.metadata.version('facenet-pytorch')}"
