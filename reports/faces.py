"""Faces as a report shows them: where a network puts a few people, and the pairs it finds hardest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class HardPair:
    """A pair that was decided wrongly.

    Args:
        left: (3, H, W).
        right: (3, H, W).
        distance: between the two.
    """

    left: Pixels
    right: Pixels
    distance: float


@dataclass(frozen=True, eq=False)
class Faces:
    """What one run makes of some faces of a test.

    Args:
        label: of the run's group in the report.
        protocol: name of the test.
        seed: of the run.
        embeddings: (N, D) of unit norm.
        people: (N,) int, from 0: whose face each is.
        portraits: (people, 3, H, W), a face of each; None where faces are real: they are nobody's to print.
        false_accepts: the closest pairs of two people below the threshold; None as portraits.
        false_rejects: the farthest pairs of one person above it; None as portraits.
    """

    label: str
    protocol: str
    seed: int
    embeddings: Floats
    people: npt.NDArray[np.int64]
    portraits: Pixels | None = None
    false_accepts: tuple[HardPair, ...] | None = None
    false_rejects: tuple[HardPair, ...] | None = None


def plane(embeddings: Floats) -> tuple[Floats, float]:
    """The two directions in which embeddings differ most: (N, 2), and their share of all the variance.

    A projection: what lies apart on it lies apart, what lies together may be told apart by other directions.
    Signs are such that the largest entry of a direction is positive, so that it is the same each time.
    """
    centered = embeddings - embeddings.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centered, full_matrices=False)
    first = directions[:2]
    signs = np.sign(first[np.arange(len(first)), np.abs(first).argmax(axis=1)])
    total = float(np.square(sizes).sum())
    return centered @ (first * signs[:, None]).T, float(np.square(sizes[:2]).sum()) / total if total else 1.0
