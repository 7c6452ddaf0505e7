"""What the rest of the program knows of a data set: labelled images, and pairs of them in folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.results import DataAudit


@dataclass(frozen=True, eq=False)
class FaceSet:
    """Labelled face images.

    Args:
        images: (N, 3, H, W) uint8 RGB, usually a read-only memory map.
        labels: (N,) int64 in [0, num_identities).
        identities: the name of each label.
        names: one `Identity/Identity_0001` per image, or empty where nothing needs them.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    identities: tuple[str, ...]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_identities(self) -> int:
        """Number of people."""
        return len(self.identities)


@dataclass(frozen=True, eq=False)
class PairProtocol:
    """Genuine and impostor pairs of images in folds, as LFW's view 2 has them.

    Args:
        name: prefix of the metrics ("lfw", "rendered").
        faces: the images that the pairs name.
        left: (P,) int64 index into faces.
        right: (P,) int64 index into faces.
        same: (P,) bool, True for genuine pairs.
        fold: (P,) int64 in [0, number of folds).
    """

    name: str
    faces: FaceSet
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.same)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set as a run uses it. Train, validation and test people are disjoint.

    Args:
        name: the registered name ("rendered").
        train: images that the loss sees.
        validation: the only pairs that checkpoint choice, pruning or a search may read.
        tests: read once, at the end.
        checksum: hex digest of all images, labels and pairs; part of a run's identity.
        size_px: height and width of the images.
        audit: verdict of `bench data audit` (`bench.data.audit.audit_verdict`), for the record; None where
            training and test were never compared.
    """

    name: str
    train: FaceSet
    validation: PairProtocol
    tests: tuple[PairProtocol, ...]
    checksum: str
    size_px: int
    audit: DataAudit | None = None
