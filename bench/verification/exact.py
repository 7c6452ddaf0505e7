"""Figures from the order of the distances, without a grid: VAL at a FAR, AUC, EER, ROC.

All take plain distances (P,) and `same` (P,), look at every pair at once (no folds), and are nan where
one kind of pair is missing. Memory stays a small multiple of the distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.verification.pairs import allowed_accepts, check_distances, check_fars, check_same

Floats = npt.NDArray[np.float64]

# values searched at a time: bounds the integer arrays that a search returns
_CHUNK = 1 << 18
_SQUARES_OVERFLOW = 1e150


class ValAtFar(NamedTuple):
    """VAL at a FAR, the FAR really reached, and the threshold that gives both."""

    val: float
    far: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Sorted:
    """Genuine and impostor distances, each ascending."""

    genuine: Floats
    impostor: Floats

    @classmethod
    def of(cls, distances: npt.ArrayLike, same: npt.ArrayLike) -> Sorted:
        """Check and sort."""
        raw = np.asarray(distances)
        if raw.ndim != 1 or raw.size == 0:
            raise ValueError(f"distances must have shape (P,) with P > 0, but got {raw.shape}")
        values, mask = check_distances(raw), check_same(same, len(raw))
        return cls(np.sort(values[mask]), np.sort(values[~mask]))

    def missing(self) -> str | None:
        """Why figures of both kinds are undefined, or None."""
        if not len(self.genuine):
            return "there are no genuine pairs"
        if not len(self.impostor):
            return "there are no impostor pairs"
        return None


def val_at_far(distances: npt.ArrayLike, same: npt.ArrayLike, far: float) -> ValAtFar:
    """VAL at the largest threshold whose false accepts are at most floor(far * impostors).

    Accept means distance < threshold, so the threshold is the distance of the first impostor that may not
    be accepted, and of tied impostors all are rejected. Higher is better. nan with one kind of pair only.

    Raises:
        ValueError: malformed distances or `same`, a FAR outside (0, 1).

    >>> val_at_far([0.1, 0.4, 0.3, 0.9], [True, True, False, False], 0.5)
    ValAtFar(val=1.0, far=0.5, threshold=0.9)
    >>> val_at_far([0.1, 0.4, 0.3, 0.9], [True, True, False, False], 0.4)
    ValAtFar(val=0.5, far=0.0, threshold=0.3)
    """
    (checked,) = check_fars((far,))
    return val_at_far_of(Sorted.of(distances, same), checked)


def val_at_far_of(pairs: Sorted, far: float) -> ValAtFar:
    """`val_at_far` of distances that are sorted already."""
    if pairs.missing():
        return ValAtFar(np.nan, np.nan, np.nan)
    threshold = pairs.impostor[allowed_accepts(far, len(pairs.impostor))]
    return ValAtFar(
        int(np.searchsorted(pairs.genuine, threshold, side="left")) / len(pairs.genuine),
        int(np.searchsorted(pairs.impostor, threshold, side="left")) / len(pairs.impostor),
        float(threshold),
    )


def auc(distances: npt.ArrayLike, same: npt.ArrayLike) -> float:
    """Area under the ROC: the chance that a genuine pair is closer than an impostor pair (Mann-Whitney).

    Ties count one half. Higher is better, 0.5 is chance. nan with one kind of pair only. Counted in integers
    and divided once, so the result is the exact ratio, rounded.

    Raises:
        ValueError: malformed distances or `same`.

    >>> auc([0.1, 0.4, 0.3, 0.9], [True, True, False, False])
    0.75
    """
    return auc_of(Sorted.of(distances, same))


def auc_of(pairs: Sorted) -> float:
    """`auc` of distances that are sorted already."""
    if pairs.missing():
        return np.nan
    wins_twice = 0  # a genuine pair that is closer counts 2, a tie 1
    for start in range(0, len(pairs.genuine), _CHUNK):
        values = pairs.genuine[start : start + _CHUNK]
        not_closer = np.searchsorted(pairs.impostor, values, side="left").sum(dtype=np.int64)
        not_closer += np.searchsorted(pairs.impostor, values, side="right").sum(dtype=np.int64)
        wins_twice += 2 * len(values) * len(pairs.impostor) - int(not_closer)
    return wins_twice / (2 * len(pairs.genuine) * len(pairs.impostor))


def eer(distances: npt.ArrayLike, same: npt.ArrayLike) -> float:
    """Equal error rate: where FAR = 1 - VAL on the exact ROC, its corners joined by straight lines.

    Pairs at one distance are accepted together, which makes a slanted line of the ROC. Lower is better, 0.5
    is chance. nan with one kind of pair only.

    Raises:
        ValueError: malformed distances or `same`.

    >>> eer([0.1, 0.4, 0.3, 0.9], [True, True, False, False])
    0.5
    """
    return eer_of(Sorted.of(distances, same))


def eer_of(pairs: Sorted) -> float:
    """`eer` of distances that are sorted already."""
    if pairs.missing():
        return np.nan
    genuine, impostor = pairs.genuine, pairs.impostor
    # FAR + VAL grows with the threshold: find the first distance at which accepting its pairs makes it >= 1
    candidates = []
    for values in (genuine, impostor):
        low, high = 0, len(values)
        while low < high:
            middle = (low + high) // 2
            if _excess(pairs, values[middle], "right") >= 0:
                high = middle
            else:
                low = middle + 1
        if low < len(values):
            candidates.append(values[low])
    crossing = min(candidates)
    before, after = _excess(pairs, crossing, "left"), _excess(pairs, crossing, "right")
    # both excesses are counts over one denominator, so the share of the way to the crossing is exact
    share = -before / (after - before)
    accepted_before = int(np.searchsorted(impostor, crossing, side="left"))
    accepted_after = int(np.searchsorted(impostor, crossing, side="right"))
    return (accepted_before + share * (accepted_after - accepted_before)) / len(impostor)


def _excess(pairs: Sorted, distance: np.float64, side: Literal["left", "right"]) -> int:
    """(FAR - (1 - VAL)) * genuine * impostors; pairs at the distance itself are accepted when "right"."""
    num_genuine, num_impostor = len(pairs.genuine), len(pairs.impostor)
    accepted = int(pairs.genuine.searchsorted(distance, side))
    false_accepts = int(pairs.impostor.searchsorted(distance, side))
    return false_accepts * num_genuine - (num_genuine - accepted) * num_impostor


def d_prime(distances: npt.ArrayLike, same: npt.ArrayLike) -> float:
    """d': how many standard deviations lie between the mean impostor and the mean genuine distance.

    d' = (mean_impostor - mean_genuine) / sqrt((variance_impostor + variance_genuine) / 2), variances with
    ddof 1. Higher is better, 0 is chance; it sums up the middle of two bell curves and says little about
    small FARs. nan with fewer than two pairs of a kind, or when all distances of each kind are one.

    Raises:
        ValueError: malformed distances or `same`.

    Source: J. Daugman, Biometric decision landscapes, Cambridge TR 482, 2000 ("decidability").

    >>> d_prime([0.0, 2.0, 4.0, 6.0], [True, True, False, False]) == 4 / 2**0.5
    True
    """
    return d_prime_of(Sorted.of(distances, same))


def d_prime_of(pairs: Sorted) -> float:
    """`d_prime` of distances that are sorted already."""
    if min(len(pairs.genuine), len(pairs.impostor)) < 2:
        return np.nan
    genuine, impostor = pairs.genuine, pairs.impostor
    largest = max(abs(genuine[-1]), abs(impostor[-1]), abs(genuine[0]), abs(impostor[0]))
    if largest > _SQUARES_OVERFLOW:  # the scale cancels
        genuine, impostor = genuine / largest, impostor / largest
    spread = np.sqrt((np.var(genuine, ddof=1) + np.var(impostor, ddof=1)) / 2)
    gap = np.mean(impostor) - np.mean(genuine)
    return float(gap / spread) if spread else np.nan


def det(distances: npt.ArrayLike, same: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Detection error tradeoff: what the ROC shows, as two errors to be drawn on normal deviates.

    Returns:
        far, frr, threshold: threshold ascends, so FAR does and the false reject rate 1 - VAL falls; the same
        points as `roc`.

    Raises:
        ValueError: malformed distances or `same`.

    Source: A. Martin et al., The DET curve in assessment of detection task performance, Eurospeech 1997.

    >>> far, frr, threshold = det([0.1, 0.4, 0.3, 0.9], [True, True, False, False])
    >>> frr.tolist()
    [1.0, 0.5, 0.5, 0.0, 0.0]
    """
    far, val, threshold = roc(distances, same)
    return far, 1.0 - val, threshold


def roc(distances: npt.ArrayLike, same: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """The exact ROC, one point for each different distance.

    Returns:
        far, val, threshold: ascending; accepting `distance < threshold[i]` gives far[i] and val[i]. The first
        threshold is the least distance (accepts nothing), the last is inf (accepts everything). far or val is
        all nan where its kind of pair is missing.

    Raises:
        ValueError: malformed distances or `same`.

    >>> far, val, threshold = roc([0.1, 0.4, 0.3, 0.9], [True, True, False, False])
    >>> far.tolist(), val.tolist(), threshold.tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0], [0.1, 0.3, 0.4, 0.9, inf])
    """
    pairs = Sorted.of(distances, same)
    threshold = np.append(np.union1d(pairs.genuine, pairs.impostor), np.inf)
    return _share_below(pairs.impostor, threshold), _share_below(pairs.genuine, threshold), threshold


def _share_below(values: Floats, threshold: Floats) -> Floats:
    if not len(values):
        return np.full(len(threshold), np.nan)
    share = np.empty(len(threshold))
    for start in range(0, len(threshold), _CHUNK):
        part = slice(start, start + _CHUNK)
        share[part] = np.searchsorted(values, threshold[part], side="left")
    share /= len(values)
    return share
