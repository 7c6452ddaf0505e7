"""The threshold to deploy: what it accepts, whether its interval covers, and when it warns."""

from __future__ import annotations

import json
import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binom

from bench.verification import far_warning, find_thresholds, val_at_far, verify, wilson
from bench.verification.thresholds import _binomial_bounds


def _pairs(num_pairs: int, seed: int):
    draw = np.random.default_rng(seed)
    same = np.arange(num_pairs) % 4 == 0
    return np.clip(draw.normal(np.where(same, 2.0, 3.0), 0.25), 0, None), same


def test_the_threshold_is_the_exact_one_with_all_it_rests_on() -> None:
    distances, same = _pairs(4000, 0)
    found = find_thresholds(distances, same, fars=(1e-2, 1e-3), source="rendered/validation")
    assert list(found) == ["1e-2", "1e-3"]
    for key, far in (("1e-2", 1e-2), ("1e-3", 1e-3)):
        one, exact = found[key], val_at_far(distances, same, far)
        assert (one.val, one.far, one.threshold) == tuple(exact)
        assert one.false_accepts == np.sum(distances[~same] < one.threshold) == int(3000 * far)
        assert (one.num_genuine, one.num_impostor, one.source) == (1000, 3000, "rendered/validation")
        assert one.interval[0] <= one.threshold <= one.interval[1]
        assert one.far_interval == wilson(one.false_accepts, 3000)
        assert one.val_interval == wilson(int(np.sum(distances[same] < one.threshold)), 1000)
    assert found["1e-2"].warning == ""
    assert found["1e-3"].warning == far_warning(1e-3, 3000)


@pytest.mark.parametrize(
    ("trials", "share"),
    [(20, 0.1), (300, 1e-3), (3000, 1e-3), (3000, 0.29), (10**6, 1e-4), (5, 0.9), (1, 0.5)],
)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_bounds_of_the_count_are_binomial_quantiles(trials: int, share: float, confidence: float) -> None:
    low, high = _binomial_bounds(trials, share, confidence)
    tail = (1 - confidence) / 2
    assert binom.cdf(low - 1, trials, share) <= tail < binom.cdf(low, trials, share)
    assert binom.sf(high - 1, trials, share) <= tail < binom.sf(high - 2, trials, share)


def test_the_interval_covers_the_true_threshold() -> None:
    truth = NormalDist(3.0, 0.25).inv_cdf(0.01)
    covered = 0
    for seed in range(200):
        low, high = find_thresholds(*_pairs(1200, seed), fars=(0.01,), source="x")["1e-2"].interval
        covered += low <= truth <= high
    assert covered >= 185  # 190 or more expected, standard deviation 3


def test_too_few_impostors_leave_the_threshold_unbounded_below() -> None:
    distances, same = _pairs(400, 0)
    one = find_thresholds(distances, same, fars=(1e-3,), source="x")["1e-3"]
    assert one.interval[0] == 0.0
    assert one.threshold == distances[~same].min()
    assert one.warning == "FAR 1e-3 is below one of 300 impostor pairs: it cannot be measured"


@pytest.mark.parametrize(
    ("far", "impostors", "warning"),
    [
        (1e-3, 0, "there are no impostor pairs"),
        (1e-3, 999, "FAR 1e-3 is below one of 999 impostor pairs: it cannot be measured"),
        (1e-3, 3000, "FAR 1e-3 rests on 3 of 3,000 impostor pairs; it takes 30,000 to know it within 30 %"),
        (0.29, 100, "FAR 2.9e-1 rests on 29 of 100 impostor pairs; it takes 104 to know it within 30 %"),
        (1e-3, 30_000, ""),
        (1e-2, 3000, ""),
    ],
)
def test_too_few_impostors_for_a_far_are_named(far: float, impostors: int, warning: str) -> None:
    assert far_warning(far, impostors) == warning


def test_verify_carries_the_warning_of_each_far() -> None:
    distances, same = _pairs(400, 0)
    warnings = verify(distances, same, np.arange(400) // 40, fars=(1e-3, 0.2)).warnings
    assert warnings == {"1e-3": "FAR 1e-3 is below one of 300 impostor pairs: it cannot be measured"}


def test_the_document_is_strict_json_and_says_everything() -> None:
    distances, same = _pairs(400, 0)
    found = find_thresholds(distances, same, fars=(1e-2,), source="rendered/test")
    document = json.loads(json.dumps(found["1e-2"].document(), allow_nan=False))
    assert document["threshold"] == found["1e-2"].threshold
    assert document["interval"] == list(found["1e-2"].interval)
    assert document["far_interval"] == list(found["1e-2"].far_interval[:2])
    assert document["source"] == "rendered/test"
    assert document["warning"].startswith("FAR 1e-2 rests on 3 of 300")


def test_without_impostors_there_is_no_threshold_and_without_genuine_pairs_no_val() -> None:
    distances, same = _pairs(100, 0)
    none = find_thresholds(distances[same], same[same], fars=(0.1,), source="x")["1e-1"]
    assert all(math.isnan(value) for value in (none.threshold, *none.interval, none.far, none.val))
    assert none.warning == "there are no impostor pairs"
    assert json.dumps(none.document(), allow_nan=False).count("null") == 9
    alone = find_thresholds(distances[~same], same[~same], fars=(0.1,), source="x")["1e-1"]
    assert alone.threshold == find_thresholds(distances, same, fars=(0.1,), source="x")["1e-1"].threshold
    assert math.isnan(alone.val)
    assert alone.val_interval.reason == "there are no pairs of this kind"


def test_the_interval_reaches_to_the_farthest_impostor_and_then_to_infinity() -> None:
    impostor = np.arange(1.0, 21.0)
    distances, same = np.append(impostor, 0.5), np.append(np.zeros(20, dtype=bool), True)
    bounds = {
        far: find_thresholds(distances, same, fars=(far,), source="x", confidence=0.8) for far in (0.8, 0.95)
    }
    # B ~ binomial(20, 0.8): P(B < 14) = 0.087, P(B >= 19) = 0.069, P(B >= 18) = 0.206
    assert bounds[0.8]["8e-1"].interval == (14.0, 19.0)
    # B ~ binomial(20, 0.95): P(B >= 20) = 0.36, so no impostor bounds the threshold from above
    assert bounds[0.95]["9.5e-1"].interval[1] == math.inf
    # B ~ binomial(20, 0.85): P(B >= 20) = 0.039, P(B >= 19) = 0.176
    at_the_end = find_thresholds(distances, same, fars=(0.85,), source="x", confidence=0.8)
    assert at_the_end["8.5e-1"].interval[1] == 20.0
