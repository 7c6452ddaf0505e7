"""Numbers as tables show them. What is undefined says so; it never becomes a dash or a zero."""

from __future__ import annotations

import math

from reports.statistics import Mean

ONE_SEED = "†"  # marks intervals that are of the pairs, not of seeds


def percent(value: float, digits: int = 2) -> str:
    """`98.31`; the heading says %.

    >>> percent(0.98311), percent(float("nan"))
    ('98.31', 'undefined')
    """
    return "undefined" if math.isnan(value) else f"{100 * value:.{digits}f}"


def interval(found: Mean, *, scale: float = 100, digits: int = 2) -> str:
    """`98.31 [97.95, 98.67]`; without an interval the mean alone, marked when it is of one seed."""
    if math.isnan(found.value):
        return "undefined"
    mark = ONE_SEED if found.count == 1 else ""
    if math.isnan(found.low):
        return f"{scale * found.value:.{digits}f}{mark}"
    low, high = scale * found.low, scale * found.high
    return f"{scale * found.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]{mark}"


def p_value(p: float) -> str:
    """Three digits, `< 0.001` below, `none` where no test could be made.

    >>> p_value(0.0312), p_value(1e-9), p_value(float("nan"))
    ('0.031', '< 0.001', 'none')
    """
    if math.isnan(p):
        return "none"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def places(found: tuple[int, int]) -> str:
    """`1`, or `1 to 3` when the data leave the places open."""
    return str(found[0]) if found[0] == found[1] else f"{found[0]} to {found[1]}"


def minutes(seconds: float) -> str:
    """Wall time, one digit."""
    return f"{seconds / 60:.1f}"
