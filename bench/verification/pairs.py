"""What the figures are computed from, checked once: distances, same or not, fold; and the name of a FAR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

# G. Doddington et al., Speech Communication 31, 2000, "rule of 30": with 30 errors seen, the true rate is
# within 30 % of the measured one with 90 % confidence
_RULE_OF_30 = 30


@dataclass(frozen=True, slots=True)
class Pairs:
    """Checked pairs of a protocol.

    Attributes:
        distances: (P,), or (F, P) when they depend on the fold under test.
        same: (P,), True for genuine pairs.
        fold: (P,), 0 to F - 1.
        num_folds: F.
    """

    distances: npt.NDArray[np.float64]
    same: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.intp]
    num_folds: int

    def tested(self) -> npt.NDArray[np.float64]:
        """(P,): each pair's distance when its own fold is under test."""
        return distances_under_test(self.distances, self.fold)


def distances_under_test(
    distances: npt.NDArray[np.float64], fold: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """One distance a pair: of distances by fold (F, P) the row in which the pair's own fold is tested.

    This is what the figures over all pairs, histograms and lists of the hardest pairs are made of.

    Shape:
        distances: (P,), returned as they are, or (F, P); fold: (P,) int.

    >>> distances_under_test(np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([1, 0])).tolist()
    [0.3, 0.2]
    """
    if distances.ndim == 1:
        return distances
    tested: npt.NDArray[np.float64] = distances[fold, np.arange(len(fold))]
    return tested


def check_pairs(distances: npt.ArrayLike, same: npt.ArrayLike, fold: npt.ArrayLike) -> Pairs:
    """Check everything a figure relies on.

    Raises:
        ValueError: one line that names the rule and the value that broke it.
    """
    values = np.asarray(distances)
    if values.ndim not in (1, 2) or values.dtype.kind not in "fiu" or values.size == 0:
        raise ValueError(
            f"distances must be real numbers of shape (P,) or (F, P), but got {values.dtype} {values.shape}"
        )
    genuine = check_same(same, values.shape[-1])
    folds, num_folds = check_folds(fold, values.shape[-1])
    if values.ndim == 2 and len(values) != num_folds:
        raise ValueError(f"distances of shape (F, P) need F = {num_folds} folds, but got {values.shape}")
    if values.ndim == 2 and (values.strides[0] == 0):
        values = values[0]  # fold_distances' view: the folds share one row
    return Pairs(check_distances(values), genuine, folds, num_folds)


def check_distances(distances: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """float64, finite and >= 0."""
    values = np.asarray(distances, dtype=np.float64)
    # min and max see nan and inf without a mask as large as the data
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        where = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"distances must be finite, but pair {where[-1]} has {values[tuple(where)]}; drop no pair, fix it"
        )
    if low < 0:
        raise ValueError(
            f"distances must be >= 0 and smaller for more similar faces, but the least is {low:g}; "
            "turn a cosine similarity s into 1 - s"
        )
    return values


def check_same(same: npt.ArrayLike, num_pairs: int) -> npt.NDArray[np.bool_]:
    """(P,) of True and False (or 1 and 0)."""
    values = np.asarray(same)
    if values.shape != (num_pairs,):
        raise ValueError(f"same must have shape ({num_pairs},) like the distances, but got {values.shape}")
    if values.dtype != np.bool_:
        if values.dtype.kind not in "iu" or not ((values == 0) | (values == 1)).all():
            raise ValueError(f"same must be True or False (or 1 and 0), but got {values.dtype} values")
        values = values.astype(np.bool_)
    return values


def check_folds(fold: npt.ArrayLike, num_pairs: int) -> tuple[npt.NDArray[np.intp], int]:
    """(P,) of fold numbers 0 to F - 1, each used, F >= 2; returns them and F."""
    values = np.asarray(fold)
    if values.shape != (num_pairs,) or values.dtype.kind not in "iu":
        raise ValueError(
            f"fold must be integers of shape ({num_pairs},) like the distances, "
            f"but got {values.dtype} {values.shape}"
        )
    if num_pairs == 0 or int(values.min()) < 0 or int(values.max()) >= num_pairs:
        span = f"{values.min()} to {values.max()}" if num_pairs else "none"
        raise ValueError(f"fold numbers must run from 0 to F - 1, each with a pair, but they are {span}")
    folds = values.astype(np.intp, copy=False)
    sizes = np.bincount(folds)
    if not sizes.all():
        raise ValueError(
            f"fold numbers must run from 0 to F - 1, each with a pair, but fold {int(np.argmin(sizes > 0))} "
            f"of {len(sizes)} is empty"
        )
    if len(sizes) < 2:
        raise ValueError("cross-validation needs at least 2 folds, but all pairs are in fold 0")
    return folds, len(sizes)


def check_fars(fars: Sequence[float]) -> tuple[float, ...]:
    """At least one FAR, each between 0 and 1, none twice."""
    values = tuple(float(far) for far in fars)
    if not values:
        raise ValueError("at least one FAR is needed, such as 1e-3")
    for far in values:
        if not 0 < far < 1:
            raise ValueError(f"a FAR must lie between 0 and 1, but got {far:g}")
    if len(set(values)) < len(values):
        raise ValueError(f"each FAR must be given once, but got {', '.join(map(far_key, values))}")
    return values


def far_key(far: float) -> str:
    """A FAR as metrics name it: shortest digits, an exponent without leading zeros.

    >>> far_key(0.001), far_key(5e-4), far_key(0.1), far_key(0.025)
    ('1e-3', '5e-4', '1e-1', '2.5e-2')
    """
    _, digits, exponent = Decimal(repr(float(far))).normalize().as_tuple()
    mantissa = str(digits[0]) + ("." + "".join(map(str, digits[1:])) if len(digits) > 1 else "")
    return f"{mantissa}e{int(exponent) + len(digits) - 1}"


def allowed_accepts(far: float, num_impostor: int) -> int:
    """floor(far * impostors) of the decimal number as written (in binary, 0.29 * 100 is below 29)."""
    return Fraction(repr(float(far))) * num_impostor // 1


def far_warning(far: float, num_impostor: int) -> str:
    """Why so few impostor pairs cannot tell a FAR, or nothing.

    >>> far_warning(1e-3, 3000)
    'FAR 1e-3 rests on 3 of 3,000 impostor pairs; it takes 30,000 to know it within 30 %'
    >>> far_warning(1e-4, 3000)
    'FAR 1e-4 is below one of 3,000 impostor pairs: it cannot be measured'
    """
    if not num_impostor:
        return "there are no impostor pairs"
    allowed = allowed_accepts(far, num_impostor)
    if not allowed:
        return f"FAR {far_key(far)} is below one of {num_impostor:,} impostor pairs: it cannot be measured"
    if allowed < _RULE_OF_30:
        needed = math.ceil(_RULE_OF_30 / Fraction(repr(float(far))))
        return (
            f"FAR {far_key(far)} rests on {allowed} of {num_impostor:,} impostor pairs; "
            f"it takes {needed:,} to know it within 30 %"
        )
    return ""
