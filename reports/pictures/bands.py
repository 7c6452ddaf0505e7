"""Curves of several seeds as one: their mean and the t-interval at each point."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.verification import wilson
from reports.statistics import t_quantile

Floats = npt.NDArray[np.float64]


class Band(NamedTuple):
    """A curve with its interval; low and high are nan where there is none."""

    center: Floats
    low: Floats
    high: Floats


def band(curves: Floats, trials: int) -> Band:
    """Mean over seeds and its 95 % t-interval, point by point.

    The interval is taken of the log odds and brought back: a share near 0 or 1 has little room on one side,
    which a symmetric interval, cut at the edge, would not know.

    Args:
        curves: (S, N), one row a seed; shares.
        trials: pairs that a share is of; half a pair keeps the odds of none and all finite.

    Two seeds have no band: Student's factor is 12.7 there, a band from 0 to 1 that hides the curves.
    """
    center = curves.mean(axis=0)
    if len(curves) < 3:
        return Band(center, np.full_like(center, np.nan), np.full_like(center, np.nan))
    shares = (curves * trials + 0.5) / (trials + 1)
    odds = np.log(shares / (1 - shares))
    half = t_quantile(0.975, len(curves) - 1) * odds.std(axis=0, ddof=1) / math.sqrt(len(curves))
    low, high = (1 / (1 + np.exp(-(odds.mean(axis=0) + side * half))) for side in (-1, 1))
    return Band(center, np.minimum(low, center), np.maximum(high, center))


def wilson_band(shares: Floats, trials: int) -> Band:
    """The curve of one seed with Wilson's interval of each point: of the pairs, not of the seeds."""
    bounds = {share: wilson(round(share * trials), trials) for share in np.unique(shares).tolist()}
    low, high = ([bounds[share][side] for share in shares.tolist()] for side in (0, 1))
    return Band(shares, np.array(low), np.array(high))
