"""Which threshold to deploy: per FAR the threshold, how sure it is, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from bench.verification.exact import Sorted, val_at_far_of
from bench.verification.intervals import Interval, check_confidence, wilson
from bench.verification.pairs import check_fars, far_key, far_warning


class ThresholdDocument(TypedDict):
    """One entry of thresholds.json."""

    threshold: float | None
    interval: list[float | None]
    far: float | None
    far_interval: list[float | None]
    val: float | None
    val_interval: list[float | None]
    confidence: float
    false_accepts: int
    num_genuine: int
    num_impostor: int
    source: str
    warning: str | None


@dataclass(frozen=True, slots=True)
class DeployedThreshold:
    """A threshold for one FAR. Accept means distance < threshold.

    Attributes:
        far_target: the FAR asked for.
        threshold: the largest with at most floor(FAR * impostors) false accepts on the pairs it came from.
        interval: covers the threshold that has this FAR on all impostors there might be, pairs taken as
            independent; 0 or inf where the pairs are too few to bound it.
        far: false accept rate on the pairs it came from: the chance of a false accept.
        far_interval: Wilson's interval of that rate.
        val: genuine pairs accepted.
        val_interval: Wilson's.
        confidence: of the intervals.
        false_accepts: impostor pairs accepted.
        num_genuine: genuine pairs it came from.
        num_impostor: impostor pairs it came from.
        source: the data they are.
        warning: why not to trust it, or empty.
    """

    far_target: float
    threshold: float
    interval: tuple[float, float]
    far: float
    far_interval: Interval
    val: float
    val_interval: Interval
    confidence: float
    false_accepts: int
    num_genuine: int
    num_impostor: int
    source: str
    warning: str = ""

    def document(self) -> ThresholdDocument:
        """As thresholds.json holds it: JSON has neither nan nor inf, so both become null."""
        return {
            "threshold": _finite(self.threshold),
            "interval": [_finite(bound) for bound in self.interval],
            "far": _finite(self.far),
            "far_interval": [_finite(bound) for bound in self.far_interval[:2]],
            "val": _finite(self.val),
            "val_interval": [_finite(bound) for bound in self.val_interval[:2]],
            "confidence": self.confidence,
            "false_accepts": self.false_accepts,
            "num_genuine": self.num_genuine,
            "num_impostor": self.num_impostor,
            "source": self.source,
            "warning": self.warning or None,
        }


def find_thresholds(
    distances: npt.ArrayLike,
    same: npt.ArrayLike,
    *,
    fars: Sequence[float] = (1e-2, 1e-3),
    source: str,
    confidence: float = 0.95,
) -> dict[str, DeployedThreshold]:
    """Find the threshold for each FAR, over all pairs at once.

    The interval is of the order statistic: the number of impostors closer than the true threshold is binomial
    (impostors, FAR), so two of the sorted impostor distances bound it whatever their distribution.

    Args:
        distances: smaller = more similar.
        same: True for genuine pairs.
        fars: false accept rates wanted.
        source: the data, in words, such as "rendered/validation".
        confidence: of the intervals.

    Shape:
        distances: (P,); same: (P,) bool.

    Returns:
        "1e-3" -> threshold, for each FAR; nan with a warning without impostors.

    Raises:
        ValueError: malformed input, in one line.

    Source: H. A. David and H. N. Nagaraja, Order Statistics, 3rd edition 2003, section 7.1.

    >>> found = find_thresholds([0.2, 0.5, 0.6, 0.8], [1, 0, 0, 0], fars=[0.5], source="four pairs")
    >>> found["5e-1"].threshold, found["5e-1"].false_accepts
    (0.6, 1)
    """
    check_confidence(confidence)
    fars = check_fars(fars)
    pairs = Sorted.of(distances, same)
    num_genuine, num_impostor = len(pairs.genuine), len(pairs.impostor)
    found = {}
    for far in fars:
        # without genuine pairs there still is a threshold, only no VAL
        exact = val_at_far_of(Sorted(pairs.genuine if num_genuine else pairs.impostor, pairs.impostor), far)
        false_accepts = 0 if math.isnan(exact.far) else round(exact.far * num_impostor)
        accepted = int(np.searchsorted(pairs.genuine, exact.threshold)) if num_impostor else 0
        no_val = Interval(math.nan, math.nan, "wilson", pairs.missing() or "")
        found[far_key(far)] = DeployedThreshold(
            far,
            exact.threshold,
            _quantile_interval(pairs.impostor, far, confidence),
            exact.far,
            wilson(false_accepts, num_impostor, confidence=confidence),
            accepted / num_genuine if num_genuine and num_impostor else math.nan,
            wilson(accepted, num_genuine, confidence=confidence) if num_impostor else no_val,
            confidence,
            false_accepts,
            num_genuine,
            num_impostor,
            source,
            far_warning(far, num_impostor),
        )
    return found


def _quantile_interval(
    impostor: npt.NDArray[np.float64], far: float, confidence: float
) -> tuple[float, float]:
    """Bounds of the threshold whose true FAR is `far`: sorted impostors around the expected count."""
    count = len(impostor)
    if not count:
        return math.nan, math.nan
    # P(low <= B < high) >= confidence for B ~ binomial(count, far): the threshold lies between the low-th and
    # the high-th least impostor
    low, high = _binomial_bounds(count, far, confidence)
    return (
        float(impostor[low - 1]) if low > 0 else 0.0,
        float(impostor[high - 1]) if high <= count else math.inf,
    )


def _binomial_bounds(trials: int, share: float, confidence: float) -> tuple[int, int]:
    """Greatest low with P(B < low) <= tail and least high with P(B >= high) <= tail, by summing the terms."""
    # terms farther than 40 standard deviations (and 40 counts) from the mean are 0 in float64
    reach = 40 * math.sqrt(trials * share * (1 - share)) + 40
    first, last = max(0, math.floor(trials * share - reach)), min(trials, math.ceil(trials * share + reach))
    counts = np.arange(first, last + 1)
    log_first = (
        math.lgamma(trials + 1)
        - math.lgamma(first + 1)
        - math.lgamma(trials - first + 1)
        + first * math.log(share)
        + (trials - first) * math.log1p(-share)
    )
    steps = np.log((trials - counts[:-1]) / (counts[:-1] + 1) * (share / (1 - share)))
    terms = np.exp(log_first + np.concatenate([[0.0], np.cumsum(steps)]))
    below = np.concatenate([[0.0], np.cumsum(terms)])  # P(B < first + k)
    tail = (1 - confidence) / 2
    low = first + int(np.searchsorted(below, tail, side="right")) - 1
    above = np.concatenate([np.cumsum(terms[::-1])[::-1], [0.0]])  # P(B >= first + k)
    high = first + int(np.argmax(above <= tail))
    return low, high


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
