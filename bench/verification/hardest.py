"""The pairs that a model finds hardest: where to look first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.verification.pairs import check_distances, check_same

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Hardest:
    """Indices of pairs, the hardest first, and how many there are of each kind in all.

    Attributes:
        false_accepts: impostor pairs below the threshold, the closest first.
        false_rejects: genuine pairs not below it, the farthest first.
        at_threshold: pairs of either kind, the nearest to the threshold first.
        num_false_accepts: all of them.
        num_false_rejects: all of them.
    """

    false_accepts: Indices
    false_rejects: Indices
    at_threshold: Indices
    num_false_accepts: int
    num_false_rejects: int


def find_hardest(
    distances: npt.ArrayLike, same: npt.ArrayLike, *, threshold: float, count: int = 8
) -> Hardest:
    """Find the worst errors at a threshold, and the pairs that it barely decides. Ties keep the pairs' order.

    Args:
        distances: smaller = more similar.
        same: True for genuine pairs.
        threshold: accept means distance < threshold; nan has no errors and no pairs near it.
        count: at most so many of each.

    Shape:
        distances: (P,); same: (P,) bool.

    Raises:
        ValueError: malformed distances or `same`.

    >>> hardest = find_hardest([0.0, 0.9, 0.25, 0.8], [True, True, False, False], threshold=0.5)
    >>> hardest.false_accepts.tolist(), hardest.false_rejects.tolist(), hardest.at_threshold.tolist()
    ([2], [1], [2, 3, 1, 0])
    """
    raw = np.asarray(distances)
    if raw.ndim != 1 or raw.size == 0:
        raise ValueError(f"distances must have shape (P,) with P > 0, but got {raw.shape}")
    values, genuine = check_distances(raw), check_same(same, len(raw))
    accepted = values < threshold
    false_accepts = np.flatnonzero(accepted & ~genuine)
    # nan decides nothing: without this every genuine pair would count as rejected
    false_rejects = np.flatnonzero((values >= threshold) & genuine)
    near = np.argsort(np.abs(values - threshold), kind="stable") if np.isfinite(threshold) else np.arange(0)
    return Hardest(
        false_accepts[np.argsort(values[false_accepts], kind="stable")][:count],
        false_rejects[np.argsort(-values[false_rejects], kind="stable")][:count],
        near[:count],
        len(false_accepts),
        len(false_rejects),
    )
