"""Contests: is one group better than another? Over seeds, and on the same pairs.

Two questions, two tests. Over seeds: would other trainings differ the same way (Student's paired test on the
differences, seed by seed)? On the same pairs: would other pairs (`bench.verification.compare`, for each seed
that both have)? A group counts as better only when both say so, over three seeds or more; each p is corrected
by Holm over all contests of the metric in the report.

Runs keep one distance a pair, the one that its own fold's test sees. Under subtract_mean with cosine or angle
the other folds' tests see slightly others, so that a fold's threshold is chosen here on distances of which
each has its own fold's mean: the tests on the pairs are then near those of the table's figures, not equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from bench.verification import Comparison, compare, holm
from reports.groups import Group
from reports.records import PairDistances
from reports.statistics import Mean, average_p, paired_test

LEVEL = 0.05  # of a corrected p, below which a difference counts
# Two differences that happen to lie close make any p as small as one likes, whatever the losses.
MIN_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Contest:
    """One metric of two groups.

    Attributes:
        first: label of the first group.
        second: label of the second.
        metric: which figure.
        difference: first - second over the seeds that both have, with its t-interval; for one shared seed
            the interval is the pairs' bootstrap, and `reason` says so.
        by_seed: seed -> first - second.
        p_seeds: Student's paired test over seeds, corrected; nan below two shared seeds, and where all
            differences are one.
        p_pairs: the paired test on the same pairs, averaged over seeds, corrected; nan where refused.
        effect: Cohen's h, mean over seeds; nan where the pair test is refused.
        refused: why there is no test on the same pairs; empty where there is one.
    """

    first: str
    second: str
    metric: str
    difference: Mean
    by_seed: Mapping[int, float] = field(hash=False)
    p_seeds: float
    p_pairs: float
    effect: float
    refused: str = ""

    @property
    def better(self) -> str | None:
        """Label of the better group; None where the data cannot separate the two, or seeds are too few."""
        if len(self.by_seed) < MIN_SEEDS:
            return None
        if math.isnan(self.p_seeds) or self.p_seeds >= LEVEL:
            return None
        if not math.isnan(self.p_pairs) and self.p_pairs >= LEVEL:
            return None
        if self.difference.value == 0:
            return None
        return self.first if (self.difference.value > 0) == higher_is_better(self.metric) else self.second


def higher_is_better(metric: str) -> bool:
    """Of the metrics that contests are held in only the EER is an error."""
    return metric != "eer"


def hold_contests(
    groups: Sequence[Group],
    protocol: str,
    metrics: Sequence[str],
    *,
    baseline: str | None = None,
    replicates: int = 1000,
) -> list[Contest]:
    """Compare every two groups, or every other with the baseline.

    Args:
        groups: with runs on the protocol.
        protocol: its name.
        metrics: which figures, as `bench.verification.compare` names them.
        baseline: label of the group that all others are compared with; it is then `second`.
        replicates: of the bootstrap.
    """
    by_label = {group.label: group for group in groups}
    if baseline is None:
        twos = list(combinations(by_label, 2))
    else:
        twos = [(label, baseline) for label in by_label if label != baseline]
    on_pairs = _PairTests(groups, protocol, metrics, replicates)
    contests = [
        _contest(by_label[first], by_label[second], protocol, metric, on_pairs)
        for metric in metrics
        for first, second in twos
        if _shared(by_label[first], by_label[second])
    ]
    return [
        corrected for metric in metrics for corrected in _holm([c for c in contests if c.metric == metric])
    ]


def ranks(labels: Sequence[str], contests: Sequence[Contest]) -> dict[str, tuple[int, int]]:
    """Label -> best and worst place that the contests of one metric leave open.

    Best is one more than the groups that are better, worst leaves below only those that are worse. What the
    data cannot separate shares places; groups that differ in nothing share exactly the same.

    >>> ranks(["a", "b"], [])
    {'a': (1, 2), 'b': (1, 2)}
    """
    beaten = dict.fromkeys(labels, 0)
    beats = dict(beaten)
    for contest in contests:
        winner = contest.better
        if winner is not None:
            beats[winner] += 1
            beaten[contest.second if winner == contest.first else contest.first] += 1
    return {label: (1 + beaten[label], len(labels) - beats[label]) for label in labels}


class _PairTests:
    """`compare` called once a seed, for all groups that saw the same pairs."""

    def __init__(
        self, groups: Sequence[Group], protocol: str, metrics: Sequence[str], replicates: int
    ) -> None:
        self._pairs = {
            (group.label, run.record.seed): run.pairs(protocol) for group in groups for run in group.runs
        }
        self._data = {group.label: group.data_checksum for group in groups}
        self._results: dict[tuple[str, str, int, str], Comparison] = {}
        fars = sorted({float(metric.rpartition("_")[2]) for metric in metrics if "_at_far_" in metric})
        for seed in sorted({seed for _, seed in self._pairs}):
            self._compare(seed, fars or [1e-3], replicates)

    def _compare(self, seed: int, fars: Sequence[float], replicates: int) -> None:
        waiting = [label for label in self._data if self._pairs.get((label, seed)) is not None]
        while waiting:
            alike = [label for label in waiting if not self.refused(waiting[0], label, seed)]
            waiting = [label for label in waiting if label not in alike]
            if len(alike) < 2:
                continue
            first = self._of(alike[0], seed)
            distances = {label: self._of(label, seed).distances for label in alike}
            for one in compare(distances, first.same, first.fold, fars=fars, replicates=replicates):
                self._results[one.first, one.second, seed, one.metric] = one

    def _of(self, label: str, seed: int) -> PairDistances:
        pairs = self._pairs[label, seed]
        assert pairs is not None
        return pairs

    def refused(self, first: str, second: str, seed: int) -> str:
        """Why the two cannot be compared pair by pair; empty when they can."""
        mine, theirs = self._pairs.get((first, seed)), self._pairs.get((second, seed))
        if self._data[first] != self._data[second]:
            return "different data: the pairs are not the same"
        if mine is None or theirs is None:
            return "the distances of the pairs were not kept (pairs.npz)"
        if not mine.has_the_pairs_of(theirs):
            return "different pairs"
        return ""

    def result(self, first: str, second: str, seed: int, metric: str) -> tuple[Comparison, int] | None:
        """The comparison and the sign that turns it to first - second."""
        for key, sign in (((first, second), 1), ((second, first), -1)):
            found = self._results.get((*key, seed, metric))
            if found is not None:
                return found, sign
        return None


def _contest(first: Group, second: Group, protocol: str, metric: str, on_pairs: _PairTests) -> Contest:
    mine, theirs = first.by_seed(protocol, metric), second.by_seed(protocol, metric)
    seeds = _shared(first, second)
    by_seed = {seed: mine[seed] - theirs[seed] for seed in seeds}
    test = paired_test(list(by_seed.values()))
    refusals = [on_pairs.refused(first.label, second.label, seed) for seed in seeds]
    results = [on_pairs.result(first.label, second.label, seed, metric) for seed in seeds]
    found = [result for result in results if result is not None]
    difference = test.difference
    refused = next((reason for reason in refusals if reason), "")
    if refused.startswith("different"):  # then the seeds' differences mix the losses with the pairs
        nothing = Mean(math.nan, math.nan, math.nan, math.nan, len(seeds), refused)
        return Contest(
            first.label, second.label, metric, nothing, by_seed, math.nan, math.nan, math.nan, refused
        )
    if len(seeds) == 1 and found:
        (one, sign), *_ = found
        low, high = sorted((sign * one.low, sign * one.high))
        difference = replace(
            difference, low=low, high=high, reason="one shared seed: the interval is of the pairs alone"
        )
    effects = [sign * one.effect for one, sign in found]
    return Contest(
        first.label,
        second.label,
        metric,
        difference,
        by_seed,
        test.p,
        average_p([one.p for one, _ in found]) if len(found) == len(seeds) else math.nan,
        sum(effects) / len(effects) if effects else math.nan,
        refused,
    )


def _shared(first: Group, second: Group) -> list[int]:
    return sorted(set(first.seeds) & set(second.seeds))


def _holm(contests: Sequence[Contest]) -> list[Contest]:
    over_seeds = holm([contest.p_seeds for contest in contests])
    on_pairs = holm([contest.p_pairs for contest in contests])
    return [
        replace(contest, p_seeds=seeds, p_pairs=pairs)
        for contest, seeds, pairs in zip(contests, over_seeds, on_pairs, strict=True)
    ]
