"""Is one model better than another on the same pairs? Paired tests, effect sizes, many comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from bench.verification.facenet import Grid
from bench.verification.intervals import check_confidence, check_replicates, percentile_interval
from bench.verification.pairs import Pairs, check_fars, check_pairs
from bench.verification.resampling import Figures, check_identities, draws


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of two models on the same pairs.

    Attributes:
        first: name of the first model.
        second: name of the second one.
        metric: which figure.
        first_value: the figure of the first model.
        second_value: of the second.
        difference: first - second, in the figure's own unit.
        low: bound of the difference's interval.
        high: the other bound.
        effect: Cohen's h = 2 asin sqrt(first) - 2 asin sqrt(second); by convention 0.2 is small, 0.5 medium,
            0.8 large. A point at 99 % weighs more than one at 50 %.
        p: two-sided, for no difference; accuracy: McNemar's exact test, others: the paired bootstrap.
        p_holm: p corrected for all comparisons of this metric made together.
        method: how interval and p were found.
        only_first: pairs that the first model alone decides rightly, at each one's own fold thresholds;
            None except for accuracy.
        only_second: pairs that the second alone decides rightly.
        reason: why numbers are nan.
    """

    first: str
    second: str
    metric: str
    first_value: float
    second_value: float
    difference: float
    low: float
    high: float
    effect: float
    p: float
    p_holm: float
    method: str
    only_first: int | None = None
    only_second: int | None = None
    reason: str = ""


def compare(
    models: Mapping[str, npt.ArrayLike],
    same: npt.ArrayLike,
    fold: npt.ArrayLike,
    *,
    fars: Sequence[float] = (1e-3,),
    baseline: str | None = None,
    identities: npt.ArrayLike | None = None,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Compare models pair by pair: accuracy, VAL by both rules, AUC and EER.

    Every replicate of the bootstrap draws the same pairs (or people) for all models, so that what makes a
    pair hard for both cancels in the difference. p is twice the smaller share of replicates on one side of
    no difference, the observed one counted in, never below 2 / (replicates + 1); its interval is that of
    percentiles, so both agree. Accuracy takes its p from McNemar's exact test, which thinks of each model's
    thresholds as given. These tests speak about pairs: that another seed trains another model, they do not
    know.

    Args:
        models: name -> distances, as `verify` takes them, of the same pairs in the same order.
        same: True for genuine pairs.
        fold: fold of each pair.
        fars: false accept rates to take VAL at.
        baseline: compare every other model with this one; left out, every two models.
        identities: (P, 2) the person of either side: people are drawn instead of pairs.
        replicates: draws; p cannot fall below 2 / (replicates + 1).
        confidence: of the intervals.
        seed: of the draws.

    Returns:
        For each two models (first, second; with a baseline, second is the baseline) one comparison a metric.
        `p_holm` is corrected over all comparisons of the same metric.

    Raises:
        ValueError: malformed input, in one line; it names the model.

    Source: Q. McNemar, Psychometrika 12, 1947; J. Cohen, Statistical Power Analysis, 1988, chapter 6;
    S. Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    check_confidence(confidence)
    check_replicates(replicates)
    fars = check_fars(fars)
    if len(models) < 2:
        raise ValueError(f"a comparison needs at least two models, but got {len(models)}")
    if baseline is not None and baseline not in models:
        raise ValueError(f"the baseline {baseline!r} is none of the models: {', '.join(models)}")
    pairs = {name: _checked(name, distances, same, fold) for name, distances in models.items()}
    protocol = next(iter(pairs.values()))
    people = check_identities(identities, protocol.same)
    figures = {name: Figures(of_model, fars) for name, of_model in pairs.items()}
    estimates = {name: of_model.values() for name, of_model in figures.items()}
    replicated: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in models}
    for weights in draws(protocol, identities=people, replicates=replicates, seed=seed):
        for name, of_model in figures.items():
            replicated[name].append(of_model.values(weights))
    values = {name: np.array(rows) for name, rows in replicated.items()}
    correct = {name: correct_decisions(of_model) for name, of_model in pairs.items()}

    twos = combinations(models, 2) if baseline is None else ((n, baseline) for n in models if n != baseline)
    method = "bootstrap by identity" if people is not None else "bootstrap by pair"
    names = next(iter(figures.values())).names
    comparisons = []
    for first, second in twos:
        for column, metric in enumerate(names):
            if metric in ("best_threshold", "d_prime") or metric.startswith("far_at_far_"):
                continue  # which of two thresholds or reached FARs is better is no question; d' has no share
            one = _bootstrapped(
                values[first][:, column] - values[second][:, column],
                Comparison(
                    first,
                    second,
                    metric,
                    first_value=float(estimates[first][column]),
                    second_value=float(estimates[second][column]),
                    difference=float(estimates[first][column] - estimates[second][column]),
                    low=math.nan,
                    high=math.nan,
                    effect=_cohens_h(estimates[first][column], estimates[second][column]),
                    p=math.nan,
                    p_holm=math.nan,
                    method=method,
                ),
                confidence,
            )
            comparisons.append(
                _with_mcnemar(one, correct[first], correct[second]) if metric == "accuracy" else one
            )
    return _holm_by_metric(comparisons)


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact test, two-sided: do two models err equally often?

    Under no difference each pair that exactly one of them decides rightly is a coin toss. 1 without any.

    Args:
        only_first: pairs that the first model alone decides rightly.
        only_second: pairs that the second alone decides rightly.

    Raises:
        ValueError: a negative count.

    >>> round(mcnemar(1, 5), 6), mcnemar(3, 3)
    (0.21875, 1.0)
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"counts of pairs must be >= 0, but got {only_first} and {only_second}")
    tosses, fewer = only_first + only_second, min(only_first, only_second)
    # the tail of the binomial relative to its largest term, from there downwards: k / (n - k + 1) a step
    steps = np.arange(fewer, 0, -1, dtype=np.float64)
    tail = 1.0 + float(np.sum(np.cumprod(steps / (tosses - steps + 1))))
    log_largest = math.lgamma(tosses + 1) - math.lgamma(fewer + 1) - math.lgamma(tosses - fewer + 1)
    return min(1.0, 2 * tail * math.exp(log_largest - tosses * math.log(2)))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's correction: p-values that hold however many comparisons were made.

    The least of m is multiplied by m, the next by m - 1, and so on, never falling. nan stays nan and does
    not count as a comparison.

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    values = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(len(values), np.nan)
    order = np.argsort(values, kind="stable")
    order = order[~np.isnan(values[order])]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return tuple(corrected.tolist())


def correct_decisions(pairs: Pairs) -> npt.NDArray[np.bool_]:
    """(P,): is each pair decided rightly at its own fold's threshold of accuracy?"""
    threshold = Grid(pairs).figures(()).threshold
    correct: npt.NDArray[np.bool_] = (pairs.tested() < threshold[pairs.fold]) == pairs.same
    return correct


def _bootstrapped(
    differences: npt.NDArray[np.float64], comparison: Comparison, confidence: float
) -> Comparison:
    """With interval and p from the replicates of the difference."""
    interval = percentile_interval(
        differences, comparison.difference, confidence=confidence, method=comparison.method
    )
    if not differences.any():  # nan counts as a difference here
        return replace(comparison, low=0.0, high=0.0, p=1.0, reason="the models agree in every replicate")
    if interval.reason:
        return replace(comparison, reason=interval.reason)
    defined = differences[~np.isnan(differences)]
    least = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    p = min(1.0, 2 * (int(least) + 1) / (len(defined) + 1))
    return replace(comparison, low=interval.low, high=interval.high, p=p)


def _with_mcnemar(
    comparison: Comparison, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]
) -> Comparison:
    if math.isnan(comparison.difference):
        return comparison
    only_first, only_second = int(np.count_nonzero(first & ~second)), int(np.count_nonzero(second & ~first))
    return replace(
        comparison,
        p=mcnemar(only_first, only_second),
        method=f"McNemar's exact test, interval by {comparison.method}",
        only_first=only_first,
        only_second=only_second,
    )


def _cohens_h(first: float, second: float) -> float:
    if math.isnan(first) or math.isnan(second):
        return math.nan
    return 2 * math.asin(math.sqrt(first)) - 2 * math.asin(math.sqrt(second))


def _holm_by_metric(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    corrected: dict[int, Comparison] = {}
    for metric in dict.fromkeys(one.metric for one in comparisons):
        members = [index for index, one in enumerate(comparisons) if one.metric == metric]
        p_values = holm([comparisons[index].p for index in members])
        for index, p in zip(members, p_values, strict=True):
            corrected[index] = replace(comparisons[index], p_holm=p)
    return tuple(corrected[index] for index in range(len(comparisons)))


def _checked(name: str, distances: npt.ArrayLike, same: npt.ArrayLike, fold: npt.ArrayLike) -> Pairs:
    try:
        return check_pairs(distances, same, fold)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
