"""How sure a mean over seeds is: Student's t, for few seeds.

A seed is one training: weights, order, augmentation and mining drawn anew. Seeds are few, so intervals come
from t with seeds - 1 degrees of freedom: with three seeds they are wide, and that is the truth.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its interval.

    Attributes:
        value: the mean.
        low: lower bound; nan where there is none.
        high: upper bound.
        std: standard deviation over the values (ddof 1); nan for one value.
        count: number of values.
        reason: why there is no interval.
    """

    value: float
    low: float
    high: float
    std: float
    count: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Is the mean of paired differences zero? p is two-sided."""

    difference: Mean
    p: float


def mean(values: Sequence[float], *, confidence: float = 0.95) -> Mean:
    """Mean over seeds with its t-interval.

    Args:
        values: one a seed; nan makes all nan.
        confidence: of the interval.

    Raises:
        ValueError: no values.

    Source: Student, The probable error of a mean, Biometrika 6, 1908.

    >>> result = mean([0.98, 0.99, 0.985])
    >>> [round(number, 4) for number in (result.value, result.low, result.high, result.std)]
    [0.985, 0.9726, 0.9974, 0.005]
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    center = float(np.mean(values))
    if math.isnan(center):
        return Mean(math.nan, math.nan, math.nan, math.nan, len(values), "undefined for one of the seeds")
    if len(values) == 1:
        return Mean(center, math.nan, math.nan, math.nan, 1, "one seed says nothing about others")
    std = float(np.std(values, ddof=1))
    half = t_quantile((1 + confidence) / 2, len(values) - 1) * std / math.sqrt(len(values))
    return Mean(center, center - half, center + half, std, len(values))


def paired_test(differences: Sequence[float], *, confidence: float = 0.95) -> PairedTest:
    """Student's paired test on the differences of two losses, seed by seed.

    Args:
        differences: one for each seed that both have.
        confidence: of the interval.

    Returns:
        The mean difference, its interval and p; nan below two seeds. Differences that are all equal and not
        zero have no p either: figures are counts of pairs, so that equal ones are rounding, and no spread to
        judge by.

    Raises:
        ValueError: no differences.
    """
    center = mean(differences, confidence=confidence)
    if center.reason:
        return PairedTest(center, math.nan)
    if center.std == 0:
        return PairedTest(center, 1.0 if center.value == 0 else math.nan)
    t = center.value / (center.std / math.sqrt(center.count))
    return PairedTest(center, 1 - t_inside(abs(t), center.count - 1))


def average_p(p_values: Sequence[float]) -> float:
    """One p from tests of one question that depend on each other in an unknown way: twice their mean.

    The tests of several seeds on the same pairs share what makes these pairs hard; twice the mean is valid
    whatever they share. nan where there is none.

    Source: V. Vovk and R. Wang, Combining p-values via averaging, Biometrika 107, 2020.

    >>> average_p([0.01, 0.03]), average_p([0.02])
    (0.04, 0.02)
    """
    defined = [p for p in p_values if not math.isnan(p)]
    if not defined:
        return math.nan
    return defined[0] if len(defined) == 1 else min(1.0, 2 * sum(defined) / len(defined))


def t_inside(t: float, freedom: int) -> float:
    """P(|T| <= t) for Student's t with a whole number of degrees of freedom: a finite sum.

    Source: M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.

    >>> round(t_inside(4.302652729911275, 2), 9)
    0.95
    """
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(odd, freedom - 1, 2):
        total += term
        term *= (k + 1) / (k + 2) * cosine * cosine
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


@functools.cache  # a report asks for the same few, each of which sums thousands of terms where seeds are many
def t_quantile(probability: float, freedom: int) -> float:
    """The t that a T stays below with this probability, at least one half; by halving.

    >>> round(t_quantile(0.975, 4), 6)
    2.776445
    """
    inside, low, high = 2 * probability - 1, 0.0, 1.0
    while t_inside(high, freedom) < inside:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_inside(middle, freedom) < inside else (low, middle)
    return high
