"""Intervals: against published numbers, and whether they cover the truth as often as they claim."""

from __future__ import annotations

import math
import re
from statistics import NormalDist

import numpy as np
import pytest

from bench.verification import bootstrap_intervals, verify, wilson, wilson_intervals


def _pairs(num_pairs: int, seed: int, gap: float = 1.2):
    """Genuine distances N(2, 0.4), impostors N(2 + 0.4 gap, 0.4): the true AUC is Phi(gap / sqrt 2)."""
    draw = np.random.default_rng(seed)
    same = np.arange(num_pairs) % 2 == 0
    distances = draw.normal(np.where(same, 2.0, 2.0 + 0.4 * gap), 0.4)
    return np.clip(distances, 0, None), same, np.arange(num_pairs) * 4 // num_pairs


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe, Statistics in Medicine 17, 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_newcombes_table(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson(successes, trials)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_bounds_are_where_the_score_test_turns() -> None:
    z = NormalDist().inv_cdf(0.995)
    for bound in wilson(37, 50, confidence=0.99)[:2]:
        assert abs(37 / 50 - bound) / math.sqrt(bound * (1 - bound) / 50) == pytest.approx(z)


def test_wilson_stays_inside_and_says_when_there_is_nothing() -> None:
    assert wilson(0, 5).low == 0.0
    assert wilson(5, 5).high == 1.0
    assert math.isnan(wilson(0, 0).low)
    assert wilson(0, 0).reason == "there are no pairs of this kind"


def test_wilson_intervals_pool_the_folds() -> None:
    pairs = _pairs(400, 0)
    metrics = verify(*pairs, fars=(0.1,)).metrics
    intervals = wilson_intervals(*pairs, fars=(0.1,))
    assert intervals == {
        "accuracy": wilson(round(metrics["accuracy"] * 400), 400),
        "val_at_far_1e-1": wilson(round(metrics["val_at_far_1e-1"] * 200), 200),
        "far_at_far_1e-1": wilson(round(metrics["far"] * 200), 200),
        "val_exact_at_far_1e-1": wilson(round(metrics["val_exact_at_far_1e-1"] * 200), 200),
    }


def test_every_figure_lies_in_its_bootstrap_interval() -> None:
    pairs = _pairs(400, 1)
    metrics = dict(verify(*pairs, fars=(0.1,)).metrics)
    metrics["far_at_far_1e-1"] = metrics["far"]
    intervals = bootstrap_intervals(*pairs, fars=(0.1,), replicates=200)
    for name, interval in intervals.items():
        assert interval.low < interval.high
        assert name == "d_prime" or interval.low <= metrics[name] <= interval.high
    assert {interval.method for interval in intervals.values()} == {"bootstrap by pair"}


def test_more_confidence_is_wider_and_the_seed_decides() -> None:
    pairs = _pairs(200, 2)
    usual, again, wide = (
        bootstrap_intervals(*pairs, replicates=200, confidence=confidence)["auc"]
        for confidence in (0.8, 0.8, 0.99)
    )
    assert usual == again
    assert wide.low < usual.low < usual.high < wide.high
    assert bootstrap_intervals(*pairs, replicates=200, confidence=0.8, seed=1)["auc"] != usual


def test_bootstrap_by_pair_covers_the_truth_about_as_often_as_it_claims() -> None:
    truth = NormalDist().cdf(1.2 / math.sqrt(2))
    covered = 0
    for seed in range(60):
        interval = bootstrap_intervals(*_pairs(160, seed), replicates=100, confidence=0.9)["auc"]
        covered += interval.low <= truth <= interval.high
    # 54 of 60 expected, standard deviation 2.3
    assert 46 <= covered <= 60


def _pairs_of_people(seed: int, people: int = 24):
    """Every genuine distance of a person shares that person's offset, and so does every impostor distance."""
    draw = np.random.default_rng(seed)
    offset = draw.normal(0, 0.3, people)
    genuine = np.repeat(np.arange(people), 12)
    left, right = np.triu_indices(people, 1)
    identities = np.concatenate([np.stack([genuine, genuine], 1), np.stack([left, right], 1)])
    same = identities[:, 0] == identities[:, 1]
    mean = np.where(same, 2.0, 2.5) + offset[identities].mean(axis=1)
    distances = np.clip(draw.normal(mean, 0.1), 0, None)
    return distances, same, np.arange(len(same)) % 4, identities


def test_only_the_bootstrap_by_identity_covers_when_pairs_share_people() -> None:
    truth = np.mean([verify(*_pairs_of_people(seed)[:3]).metrics["auc"] for seed in range(1000, 1200)])
    covered = {"pair": 0, "identity": 0}
    for seed in range(40):
        *pairs, identities = _pairs_of_people(seed)
        for kind, people in (("pair", None), ("identity", identities)):
            interval = bootstrap_intervals(*pairs, identities=people, replicates=100)["auc"]
            assert interval.method == f"bootstrap by {kind}"
            covered[kind] += bool(interval.low <= truth <= interval.high)
    assert covered["pair"] < 26
    assert covered["identity"] >= 36


def test_without_errors_proportions_fall_back_to_wilson_and_others_say_why_not() -> None:
    distances = np.where(np.arange(80) % 2 == 0, 0.2, 1.2)
    intervals = bootstrap_intervals(distances, np.arange(80) % 2 == 0, np.arange(80) // 20, replicates=100)
    assert intervals["accuracy"] == wilson(80, 80)
    assert intervals["val_exact_at_far_1e-3"] == wilson(40, 40)
    assert math.isnan(intervals["auc"].low)
    assert intervals["auc"].reason == "all replicates agree, so they give no interval"


def test_pairs_of_one_kind_have_no_intervals() -> None:
    distances, _, fold = _pairs(80, 3)
    same = np.ones(80, dtype=bool)
    assert {interval.reason for interval in wilson_intervals(distances, same, fold).values()} == {
        "there are no impostor pairs"
    }
    for interval in bootstrap_intervals(distances, same, fold, replicates=100).values():
        assert math.isnan(interval.low)
        assert interval.reason in ("the figure itself is undefined", "there are no impostor pairs")


def test_figures_undefined_in_many_draws_have_no_interval() -> None:
    # two people, one impostor pair: half of the draws hold nobody but one of them
    identities = [[0, 0], [1, 1], [0, 1], [1, 0]]
    intervals = bootstrap_intervals(
        [0.1, 0.9, 0.5, 0.7], [True, True, False, False], [0, 1, 0, 1], identities=identities, replicates=200
    )
    assert re.fullmatch(r"undefined in \d+% of the replicates", intervals["auc"].reason)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(3, 2), "`0 <= successes <= trials` must hold, but got 3 and 2"),
        (lambda: wilson(1, 2, confidence=95), "`0 < confidence < 1` must hold, but got 95"),
        (
            lambda: bootstrap_intervals(*_pairs(80, 0), replicates=10),
            "a bootstrap needs at least 100 replicates, but got 10",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
