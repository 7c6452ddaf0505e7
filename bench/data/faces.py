"""What the rest of the program knows of a data set: labelled images, and pairs of them in folds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.results import Alignment, DataAudit
from losses.types import Bounds

ImageSize = Annotated[int, Bounds(ge=16, le=1024, unit="px")]


class Images(Protocol):
    """(N, 3, H, W) uint8 RGB: an array, a memory map, or something that looks rows up when asked for them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, H, W)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | NDArray[np.int64], /) -> NDArray[np.uint8]:
        """The images of some rows, in the order of the rows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some rows of other images, read when they are asked for: a choice of people costs no copy.

    Args:
        images: where they lie.
        rows: (N,) int64 into them.
    """

    images: Images
    rows: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, H, W)."""
        return (len(self.rows), *self.images.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | NDArray[np.int64], /) -> NDArray[np.uint8]:
        return self.images[self.rows[rows]]


@dataclass(frozen=True, eq=False)
class FaceSet:
    """Labelled face images.

    Args:
        images: (N, 3, H, W) uint8 RGB, usually rows of a read-only memory map.
        labels: (N,) int64 in [0, num_identities).
        identities: the name of each label.
        names: one `Identity/Identity_0001` per image, or empty where nothing needs them.
    """

    images: Images
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
        images_checksum: of the images that the pairs are taken from; empty where the data set's covers them.
        num_skipped: pairs of the official list that are not here because an image is missing.
        alignment: how the faces were cut out of their pictures; None: nothing tells.
    """

    name: str
    faces: FaceSet
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]
    images_checksum: str = ""
    num_skipped: int = 0
    alignment: Alignment | None = None

    def __len__(self) -> int:
        return len(self.same)

    @property
    def checksum(self) -> str:
        """Hex digest of the pairs and of the images they are taken from."""
        digest = hashlib.sha256(self.images_checksum.encode())
        for column in (self.left, self.right, self.fold):
            digest.update(column.astype("<i8").tobytes())
        digest.update(self.same.astype("u1").tobytes())
        return digest.hexdigest()


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
        alignment: how the training faces were cut out of their pictures; None: nothing tells.
        notes: what a reader of the record must know of the data: images that were left out, say.
    """

    name: str
    train: FaceSet
    validation: PairProtocol
    tests: tuple[PairProtocol, ...]
    checksum: str
    size_px: int
    audit: DataAudit | None = None
    alignment: Alignment | None = None
    notes: tuple[str, ...] = ()
