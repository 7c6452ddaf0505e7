"""Paired comparisons: McNemar and Holm against their definitions, the bootstrap against simulated truth."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import pytest

from bench.verification import compare, holm, mcnemar, verify
from bench.verification.comparison import Comparison, _bootstrapped, correct_decisions
from bench.verification.pairs import check_pairs


def _models(num_pairs: int = 400, seed: int = 0, gain: float = 0.3):
    """Two models that find the same pairs hard; the second one's kinds lie `gain` farther apart."""
    draw = np.random.default_rng(seed)
    same = np.arange(num_pairs) % 2 == 0
    hardness = draw.normal(0, 0.3, num_pairs)
    distances = {}
    for name, gap in (("triplet", 0.8), ("center", 0.8 + gain)):
        mean = np.where(same, 0.8, 0.8 + gap)
        distances[name] = np.abs(mean + hardness + draw.normal(0, 0.15, num_pairs))
    return distances, same, np.arange(num_pairs) * 4 // num_pairs


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 5), (5, 1), (0, 7), (3, 3), (20, 41), (200, 260)])
def test_mcnemar_is_twice_the_smaller_binomial_tail(first: int, second: int) -> None:
    tosses = first + second
    tail = sum(Fraction(math.comb(tosses, k), 2**tosses) for k in range(min(first, second) + 1))
    assert mcnemar(first, second) == pytest.approx(float(min(1, 2 * tail)), rel=1e-10)


def test_mcnemar_of_many_pairs_neither_overflows_nor_vanishes() -> None:
    # normal approximation with continuity correction: z = (|b - c| - 1) / sqrt(b + c)
    z = (2000 - 1) / math.sqrt(1_000_000)
    assert mcnemar(501_000, 499_000) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)
    assert mcnemar(0, 5000) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_holm_equals_its_step_down_definition(seed: int) -> None:
    p_values = np.random.default_rng(seed).random(7).round(2) ** 3
    for level in (0.01, 0.05, 0.2, 0.5):
        rejected, remaining = set(), len(p_values)
        for index in sorted(range(len(p_values)), key=lambda index: p_values[index]):
            if p_values[index] * remaining > level:
                break
            rejected.add(index)
            remaining -= 1
        assert {index for index, p in enumerate(holm(p_values.tolist())) if p <= level} == rejected


def test_holm_leaves_out_what_is_undefined() -> None:
    assert holm([0.01, math.nan, 0.04])[::2] == (0.02, 0.04)
    assert math.isnan(holm([math.nan])[0])
    assert holm([]) == ()


def test_each_model_is_judged_at_its_own_fold_thresholds() -> None:
    distances, same, fold = _models()
    figures = verify(distances["triplet"], same, fold)
    correct = correct_decisions(check_pairs(distances["triplet"], same, fold))
    assert [correct[fold == index].mean() for index in range(4)] == list(figures.fold_accuracy)


def test_the_accuracy_row_holds_mcnemars_counts() -> None:
    distances, same, fold = _models()
    row = compare(distances, same, fold, replicates=100)[0]
    assert (row.first, row.second, row.metric) == ("triplet", "center", "accuracy")
    right = {name: correct_decisions(check_pairs(values, same, fold)) for name, values in distances.items()}
    assert row.only_first == np.sum(right["triplet"] & ~right["center"])
    assert row.only_second == np.sum(~right["triplet"] & right["center"])
    assert row.p == mcnemar(row.only_first, row.only_second)
    assert row.difference == pytest.approx((row.only_first - row.only_second) / len(same))
    assert row.method == "McNemar's exact test, interval by bootstrap by pair"


def test_every_row_agrees_with_verify_and_its_interval_with_p() -> None:
    distances, same, fold = _models()
    rows = compare(distances, same, fold, fars=(0.1, 0.01), replicates=200)
    metrics = {
        name: verify(values, same, fold, fars=(0.1, 0.01)).metrics for name, values in distances.items()
    }
    assert [row.metric for row in rows] == [
        "accuracy",
        "val_at_far_1e-1",
        "val_exact_at_far_1e-1",
        "val_at_far_1e-2",
        "val_exact_at_far_1e-2",
        "auc",
        "eer",
    ]
    for row in rows:
        assert row.first_value == metrics["triplet"][row.metric]
        assert row.second_value == metrics["center"][row.metric]
        assert row.difference == row.first_value - row.second_value
        assert row.low <= row.difference <= row.high
        if row.metric != "accuracy":
            assert (row.p < 0.05) == (row.low > 0 or row.high < 0)
        expected = 2 * math.asin(math.sqrt(row.first_value)) - 2 * math.asin(math.sqrt(row.second_value))
        assert row.effect == pytest.approx(expected)


def test_a_real_gain_is_found_and_named_the_right_way_round() -> None:
    rows = {row.metric: row for row in compare(*_models(gain=0.4), replicates=200)}
    assert rows["auc"].difference < 0  # the first, triplet, is worse
    assert rows["eer"].difference > 0
    assert rows["auc"].p < 0.02
    assert rows["accuracy"].p < 0.02


def test_pairing_makes_the_interval_of_the_difference_narrower() -> None:
    distances, same, fold = _models(gain=0.1)
    paired = {row.metric: row for row in compare(distances, same, fold, replicates=300)}["auc"]
    shuffled = dict(distances)
    draw = np.random.default_rng(1)
    for index in range(4):
        for kind in (True, False):
            members = np.flatnonzero((fold == index) & (same == kind))
            shuffled["center"][members] = distances["center"][draw.permutation(members)]
    unpaired = {row.metric: row for row in compare(shuffled, same, fold, replicates=300)}["auc"]
    assert unpaired.difference == pytest.approx(paired.difference)
    assert (paired.high - paired.low) < 0.7 * (unpaired.high - unpaired.low)


def test_without_a_difference_few_comparisons_are_significant() -> None:
    p_values = []
    for seed in range(40):
        models = _models(num_pairs=120, seed=seed, gain=0.0)
        p_values.append({row.metric: row.p for row in compare(*models, replicates=100)}["auc"])
    # 4 of 40 expected below 0.1, standard deviation 1.9
    assert sum(p < 0.1 for p in p_values) <= 9


def test_a_model_does_not_differ_from_itself() -> None:
    distances, same, fold = _models()
    for row in compare({"a": distances["center"], "b": distances["center"]}, same, fold, replicates=100):
        assert (row.difference, row.low, row.high, row.p, row.effect) == (0, 0, 0, 1, 0)
        assert row.reason == "the models agree in every replicate"


def test_all_pairs_of_models_or_each_with_the_baseline() -> None:
    distances, same, fold = _models()
    three = {**distances, "softmax": distances["center"] * 1.01}
    everything = compare(three, same, fold, replicates=100)
    against = compare(three, same, fold, baseline="softmax", replicates=100)
    assert list(dict.fromkeys((row.first, row.second) for row in everything)) == [
        ("triplet", "center"),
        ("triplet", "softmax"),
        ("center", "softmax"),
    ]
    assert list(dict.fromkeys((row.first, row.second) for row in against)) == [
        ("triplet", "softmax"),
        ("center", "softmax"),
    ]
    for rows in (everything, against):
        for metric in ("accuracy", "auc"):
            family = [row for row in rows if row.metric == metric]
            assert [row.p_holm for row in family] == list(holm([row.p for row in family]))


def test_people_can_be_drawn_instead_of_pairs() -> None:
    distances, same, fold = _models()
    person = np.arange(len(same)) // 8
    identities = np.stack([person, np.where(same, person, (person + 1) % 50)], axis=1)
    rows = compare(distances, same, fold, identities=identities, replicates=100)
    assert rows[-1].method == "bootstrap by identity"
    assert rows[-1].low != compare(distances, same, fold, replicates=100)[-1].low


def test_pairs_of_one_kind_cannot_be_compared_and_say_why() -> None:
    distances, same, fold = _models()
    for row in compare(distances, np.ones_like(same), fold, replicates=100):
        assert math.isnan(row.p)
        assert math.isnan(row.p_holm)
        assert row.reason == "the figure itself is undefined"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": {"a": [0.1]}}, "a comparison needs at least two models, but got 1"),
        ({"baseline": "softmax"}, "the baseline 'softmax' is none of the models: triplet, center"),
        (
            {"models": {"a": [0.1, 0.2, 0.3, 0.4], "b": [0.1, math.nan, 0.2, 0.3]}},
            "b: distances must be finite, but pair 1 has nan; drop no pair, fix it",
        ),
        (
            {"models": {"a": [0.1, 0.2, 0.3, 0.4], "b": [0.1, 0.2]}},
            "b: same must have shape (2,) like the distances, but got (4,)",
        ),
    ],
)
def test_models_that_cannot_be_compared_are_refused(change: dict, message: str) -> None:
    distances, same, fold = _models(num_pairs=4)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        compare(**({"models": distances, "same": same, "fold": fold, "replicates": 100} | change))
    with pytest.raises(ValueError, match=r"^counts of pairs must be >= 0, but got -1 and 2$"):
        mcnemar(-1, 2)


@pytest.mark.parametrize(("not_above", "p"), [(0, 0.01), (1, 0.02), (20, 0.21), (100, 1.0), (199, 0.01)])
def test_p_is_twice_the_smaller_side_with_the_observed_difference_counted_in(
    not_above: int, p: float
) -> None:
    differences = np.where(np.arange(199) < not_above, -0.1, 0.2) + np.linspace(0, 0.01, 199)
    row = Comparison("a", "b", "auc", 0.9, 0.8, 0.1, math.nan, math.nan, 0.3, math.nan, math.nan, "bootstrap")
    assert _bootstrapped(differences, row, 0.95).p == pytest.approx(p)


def test_a_corrected_p_never_falls_below_that_of_a_smaller_one() -> None:
    assert holm([0.02, 0.021, 0.9]) == (0.06, 0.06, 0.9)
