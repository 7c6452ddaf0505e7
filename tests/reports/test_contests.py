"""Who is better, and when the data do not say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from scipy import stats

from bench.verification import compare, holm
from reports.contests import Contest, hold_contests, ranks
from reports.groups import Group, make_groups
from reports.records import read_runs
from reports.statistics import Mean

from .conftest import Make


def groups_of(runs: Path) -> list[Group]:
    return make_groups(read_runs([runs]).runs)


def contest(first: str, second: str, better: str | None) -> Contest:
    """A contest that has come out so."""
    value = {first: 0.1, second: -0.1, None: 0.1}[better]
    p = 0.001 if better else 0.5
    return Contest(
        first, second, "accuracy", Mean(value, 0, 0, 0, 3), dict.fromkeys(range(3), value), p, p, 0.0
    )


def test_a_clear_difference_is_found_by_both_tests_and_signed(make: Make) -> None:
    for seed in range(3):
        make("softmax", seed, gap=1.4)
        runs = make("triplet", seed, gap=0.7)
    (one,) = hold_contests(groups_of(runs), "rendered", ["accuracy"], replicates=100)
    assert (one.first, one.second, one.better) == ("softmax", "triplet", "softmax")
    assert one.difference.low > 0
    assert one.effect > 0.2


def test_fewer_errors_are_better(make: Make) -> None:
    for seed in range(3):
        make("softmax", seed, gap=1.4)
        runs = make("triplet", seed, gap=0.7)
    (one,) = hold_contests(groups_of(runs), "rendered", ["eer"], replicates=100)
    assert one.difference.value < 0
    assert one.better == "softmax"


def test_both_p_are_those_of_scipy_and_of_compare_under_holm(make: Make) -> None:
    for seed in range(3):
        for name, gap in (("center", 1.0), ("softmax", 1.02), ("triplet", 0.98)):
            runs = make(name, seed, gap=gap)
    groups = groups_of(runs)
    contests = hold_contests(groups, "rendered", ["accuracy"], replicates=100)
    accuracy = {group.label: group.values("rendered", "accuracy") for group in groups}
    twos = [(one.first, one.second) for one in contests]
    over_seeds = [stats.ttest_rel(accuracy[first], accuracy[second]).pvalue for first, second in twos]
    assert [one.p_seeds for one in contests] == pytest.approx(holm(over_seeds))
    raw = dict.fromkeys(twos, 0.0)
    for place in range(3):
        pairs = {group.label: group.runs[place].pairs("rendered") for group in groups}
        first = pairs["center"]
        distances = {label: found.distances for label, found in pairs.items()}
        for one in compare(distances, first.same, first.fold, fars=(1e-3,), replicates=100):
            if one.metric == "accuracy":
                raw[one.first, one.second] += one.p
    expected = holm([min(1.0, 2 * total / 3) for total in raw.values()])
    assert [one.p_pairs for one in contests] == pytest.approx(expected)


def test_equal_groups_cannot_be_told_apart(make: Make) -> None:
    for seed in range(3):
        make("softmax", seed)
        runs = make("center", seed)
    (one,) = hold_contests(groups_of(runs), "rendered", ["accuracy"], replicates=100)
    assert (one.better, one.p_seeds, one.p_pairs) == (None, 1.0, 1.0)


def test_two_seeds_whose_differences_are_alike_prove_nothing(make: Make) -> None:
    for seed in range(2):
        make("softmax", seed, gap=1.4)
        runs = make("triplet", seed, gap=0.7)
    (one,) = hold_contests(groups_of(runs), "rendered", ["accuracy"], replicates=100)
    assert one.p_pairs < 0.01
    assert one.better is None
    alike = Contest("a", "b", "accuracy", Mean(0.1, 0.1, 0.1, 0.0, 2), {0: 0.1, 1: 0.1}, 1e-9, 1e-9, 0.5)
    assert alike.better is None


def test_one_shared_seed_ranks_nothing_and_its_interval_is_of_the_pairs(make: Make) -> None:
    make("softmax", 0, gap=1.4)
    make("softmax", 1, gap=1.4)
    runs = make("triplet", 0, gap=0.7)
    (one,) = hold_contests(groups_of(runs), "rendered", ["accuracy"], replicates=100)
    assert one.better is None
    assert list(one.by_seed) == [0]
    assert one.difference.reason == "one shared seed: the interval is of the pairs alone"
    assert 0 < one.difference.low < one.difference.value < one.difference.high


def test_different_pairs_are_refused_with_the_reason(make: Make) -> None:
    for seed in range(3):
        make("softmax", seed, gap=1.4)
        runs = make("triplet", seed, gap=0.7, pairs_seed=1)
    (one,) = hold_contests(groups_of(runs), "rendered", ["accuracy"], replicates=100)
    assert one.refused == "different pairs"
    assert one.better is None
    assert math.isnan(one.p_seeds)
    assert math.isnan(one.difference.value)


def test_different_data_are_refused_with_the_reason(make: Make) -> None:
    for seed in range(2):
        make("softmax", seed, gap=1.4)
        runs = make("triplet", seed, gap=0.7, data_checksum="ee" * 32)
    (one,) = hold_contests(groups_of(runs), "rendered", ["accuracy"], replicates=100)
    assert (one.refused, one.better) == ("different data: the pairs are not the same", None)


def test_records_without_pairs_are_tested_over_seeds_alone(make: Make) -> None:
    for seed in range(3):
        make("softmax", seed, gap=1.4)
        runs = make("triplet", seed, gap=0.7)
    for path in runs.glob("*/pairs.npz"):
        path.unlink()
    (one,) = hold_contests(groups_of(runs), "rendered", ["accuracy"], replicates=100)
    assert one.refused == "the distances of the pairs were not kept (pairs.npz)"
    assert math.isnan(one.p_pairs)
    assert one.better == "softmax"


def test_a_baseline_is_the_second_of_every_contest(make: Make) -> None:
    for name in ("a", "b", "c"):
        runs = make(name)
    contests = hold_contests(groups_of(runs), "rendered", ["accuracy"], baseline="b", replicates=100)
    assert [(one.first, one.second) for one in contests] == [("a", "b"), ("c", "b")]


def test_places_are_shared_where_the_data_do_not_separate() -> None:
    found = ranks(["a", "b", "c"], [contest("a", "c", "a"), contest("b", "c", "b"), contest("a", "b", None)])
    assert found == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


def test_a_chain_of_ties_leaves_ranges_open() -> None:
    found = ranks(["a", "b", "c"], [contest("a", "c", "a"), contest("a", "b", None), contest("b", "c", None)])
    assert found == {"a": (1, 2), "b": (1, 3), "c": (2, 3)}
