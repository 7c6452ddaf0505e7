"""How sure a figure is: Wilson's interval for proportions, bootstrap intervals for every figure.

Wilson's takes thresholds as given and pairs as independent: the least that can be said. The bootstrap
chooses thresholds anew in every replicate. By pair it still takes pairs as independent; by identity it
knows that pairs share people, and errs to the wide side: where hardly any two pairs share a person, the share
of impostors below a given distance varies sqrt(3) times too much. The truth lies between the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.verification.exact import Sorted, val_at_far_of
from bench.verification.facenet import Grid
from bench.verification.pairs import check_fars, check_pairs, far_key
from bench.verification.resampling import Figures, check_identities, draws


class Interval(NamedTuple):
    """Bounds of a figure; nan with a reason where nothing can be said."""

    low: float
    high: float
    method: str
    reason: str = ""


def wilson(successes: float, trials: int, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; also honest at 0 and 1.

    Raises:
        ValueError: `0 <= successes <= trials` or `0 < confidence < 1` does not hold.

    Source: E. B. Wilson, Probable inference, JASA 22, 1927.

    >>> [round(bound, 4) for bound in wilson(10, 10)[:2]]
    [0.7225, 1.0]
    """
    check_confidence(confidence)
    if not 0 <= successes <= trials:
        raise ValueError(f"`0 <= successes <= trials` must hold, but got {successes} and {trials}")
    if not trials:
        return Interval(math.nan, math.nan, "wilson", "there are no pairs of this kind")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / trials
    center = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    low = 0.0 if successes == 0 else max(center - half, 0.0)
    high = 1.0 if successes == trials else min(center + half, 1.0)
    return Interval(low, high, "wilson")


def wilson_intervals(
    distances: npt.ArrayLike,
    same: npt.ArrayLike,
    fold: npt.ArrayLike,
    *,
    fars: Sequence[float] = (1e-3,),
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Wilson's interval of accuracy, of VAL by either rule and of the test FAR, all folds' pairs together.

    Args:
        distances: as `verify` takes them.
        same: True for genuine pairs.
        fold: fold of each pair.
        fars: false accept rates to take VAL at.
        confidence: chance that an interval covers the true figure.

    Returns:
        name -> interval: accuracy, val_at_far_X, far_at_far_X, val_exact_at_far_X.

    Raises:
        ValueError: malformed input, in one line.
    """
    fars, pairs = check_fars(fars), check_pairs(distances, same, fold)
    by_fold, in_order = Grid(pairs).figures(fars), Sorted.of(pairs.tested(), pairs.same)
    sizes = np.bincount(2 * pairs.fold + pairs.same, minlength=2 * pairs.num_folds).reshape(-1, 2)
    num_impostor, num_genuine = (int(count) for count in sizes.sum(axis=0))

    def of_share(share: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> Interval:
        successes = float(np.nansum(share * counts))
        # shares are exact ratios of counts: rounding gives the count back
        return wilson(round(successes), int(counts[~np.isnan(share)].sum()), confidence=confidence)

    intervals = {"accuracy": of_share(by_fold.accuracy, sizes.sum(axis=1))}
    for far, val in zip(fars, by_fold.val, strict=True):
        key, exact = far_key(far), val_at_far_of(in_order, far).val
        accepted = 0 if math.isnan(exact) else round(exact * num_genuine)
        intervals[f"val_at_far_{key}"] = of_share(val.val, sizes[:, 1])
        intervals[f"far_at_far_{key}"] = of_share(val.far, sizes[:, 0])
        intervals[f"val_exact_at_far_{key}"] = wilson(accepted, num_genuine, confidence=confidence)
    missing = in_order.missing()
    if missing or not (num_impostor and num_genuine):
        return {name: Interval(math.nan, math.nan, "wilson", missing or "") for name in intervals}
    return intervals


def bootstrap_intervals(
    distances: npt.ArrayLike,
    same: npt.ArrayLike,
    fold: npt.ArrayLike,
    *,
    fars: Sequence[float] = (1e-3,),
    identities: npt.ArrayLike | None = None,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile bootstrap interval of every figure, thresholds chosen anew in every replicate.

    Where all replicates agree (say, there are no errors to draw from) the bootstrap knows nothing:
    proportions then get Wilson's interval (`method` says so), other figures nan with the reason.

    Args:
        distances: as `verify` takes them.
        same: True for genuine pairs.
        fold: fold of each pair.
        fars: false accept rates to take VAL at.
        identities: (P, 2) the person of either side: people are drawn. Without them pairs are.
        replicates: draws; a replicate takes about a millisecond for 6,000 pairs, and memory does not grow.
        confidence: chance that an interval covers the true figure.
        seed: of the draws.

    Returns:
        name -> interval: accuracy, best_threshold, val_at_far_X, far_at_far_X, val_exact_at_far_X, auc, eer,
        d_prime.

    Raises:
        ValueError: malformed input, in one line.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    check_confidence(confidence)
    check_replicates(replicates)
    fars, pairs = check_fars(fars), check_pairs(distances, same, fold)
    people = check_identities(identities, pairs.same)
    figures = Figures(pairs, fars)
    values = np.array(
        [
            figures.values(weights)
            for weights in draws(pairs, identities=people, replicates=replicates, seed=seed)
        ]
    )
    proportions = wilson_intervals(distances, same, fold, fars=fars, confidence=confidence)
    method = "bootstrap by identity" if people is not None else "bootstrap by pair"
    intervals = {}
    for name, column, estimate in zip(figures.names, values.T, figures.values(), strict=True):
        interval = percentile_interval(column, estimate, confidence=confidence, method=method)
        intervals[name] = proportions[name] if interval.reason and name in proportions else interval
    return intervals


def percentile_interval(
    values: npt.NDArray[np.float64], estimate: float, *, confidence: float, method: str
) -> Interval:
    """Middle part of the replicates; nan with the reason where they say nothing about the estimate."""
    defined = values[~np.isnan(values)]
    if math.isnan(estimate):
        return Interval(math.nan, math.nan, method, "the figure itself is undefined")
    # a tenth of draws without, say, an impostor in some fold means that the protocol is too small for this
    if len(defined) < 0.9 * len(values):
        share = 1 - len(defined) / len(values)
        return Interval(math.nan, math.nan, method, f"undefined in {share:.0%} of the replicates")
    if defined.min() == defined.max():
        return Interval(math.nan, math.nan, method, "all replicates agree, so they give no interval")
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), method)


def check_confidence(confidence: float) -> None:
    """Between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"`0 < confidence < 1` must hold, but got {confidence}")


def check_replicates(replicates: int) -> None:
    """Enough for a percentile to mean something."""
    if replicates < 100:
        raise ValueError(f"a bootstrap needs at least 100 replicates, but got {replicates}")
