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


def band(curves: Floats) -> Band:
    """Mean over seeds and its 95 % t-interval, point by point.

    Args:
        curves: (S, N), one row a seed; shares, so that the interval stays within 0 and 1.

    Two seeds have no band: Student's factor is 12.7 there, a band from 0 to 1 that hides the curves.
    """
    center = curves.mean(axis=0)
    if len(curves) < 3:
        return Band(center, np.full_like(center, np.nan), np.full_like(center, np.nan))
    half = t_quantile(0.975, len(curves) - 1) * curves.std(axis=0, ddof=1) / math.sqrt(len(curves))
    return Band(center, np.clip(center - half, 0, 1), np.clip(center + half, 0, 1))


def wilson_band(shares: Floats, trials: int) -> Band:
    """The curve of one seed with Wilson's interval of each point: of the pairs, not of the seeds."""
    bounds = {share: wilson(round(share * trials), trials) for share in np.unique(shares).tolist()}
    low, high = ([bounds[share][side] for share in shares.tolist()] for side in (0, 1))
    return Band(shares, np.array(low), np.array(high))
