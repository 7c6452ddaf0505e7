"""Order statistics, AUC, EER and ROC against scikit-learn and against their definitions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import det_curve, roc_auc_score, roc_curve

from bench.verification import auc, d_prime, det, eer, roc, val_at_far


def _pairs(seed: int, decimals: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    num_pairs = int(draw.integers(20, 300))
    same = draw.random(num_pairs) < draw.uniform(0.2, 0.8)
    same[:2] = True, False
    distances = np.abs(draw.normal(np.where(same, 0.7, 1.2), draw.uniform(0.1, 0.6), num_pairs))
    return (distances if decimals is None else distances.round(decimals)), same


RANDOM = [(seed, decimals) for seed in range(6) for decimals in (None, 2, 1, 0)]


@pytest.mark.parametrize(("seed", "decimals"), RANDOM)
def test_auc_counts_ties_one_half(seed: int, decimals: int | None) -> None:
    distances, same = _pairs(seed, decimals)
    genuine, impostor = distances[same], distances[~same]
    wins = sum(Fraction(int(g < i) * 2 + int(g == i), 2) for g in genuine for i in impostor)
    assert auc(distances, same) == float(wins / (len(genuine) * len(impostor)))
    assert auc(distances, same) == pytest.approx(roc_auc_score(same, -distances), abs=1e-12)


@pytest.mark.parametrize(("seed", "decimals"), RANDOM)
def test_roc_equals_scikit_learn(seed: int, decimals: int | None) -> None:
    distances, same = _pairs(seed, decimals)
    far, val, threshold = roc(distances, same)
    expected_far, expected_val, scores = roc_curve(same, -distances, drop_intermediate=False)
    np.testing.assert_array_equal(far, expected_far)
    np.testing.assert_array_equal(val, expected_val)
    # scikit-learn accepts score >= its threshold, we accept distance < ours: ours is the next distance
    np.testing.assert_array_equal(threshold[:-1], -scores[1:])
    for index in (0, len(threshold) // 2, -1):
        assert far[index] == np.mean(distances[~same] < threshold[index])
        assert val[index] == np.mean(distances[same] < threshold[index])


@pytest.mark.parametrize(("seed", "decimals"), RANDOM)
def test_eer_lies_on_the_line_between_two_corners_of_the_roc(seed: int, decimals: int | None) -> None:
    distances, same = _pairs(seed, decimals)
    far, val, _ = roc_curve(same, -distances, drop_intermediate=False)
    # bisection on the curve of scikit-learn, parametrised by FAR + VAL, which never decreases
    grid = far + val
    low, high = 0.0, 2.0
    for _ in range(100):
        middle = (low + high) / 2
        if np.interp(middle, grid, far) >= 1 - np.interp(middle, grid, val):
            high = middle
        else:
            low = middle
    assert eer(distances, same) == pytest.approx(np.interp(high, grid, far), abs=1e-12)


@pytest.mark.parametrize(("seed", "decimals"), RANDOM)
@pytest.mark.parametrize("target", [1e-3, 0.01, 0.1, 0.29, 0.5, 0.999])
def test_exact_val_takes_the_largest_threshold_allowed(
    seed: int, decimals: int | None, target: float
) -> None:
    distances, same = _pairs(seed, decimals)
    impostor = distances[~same]
    allowed = int(Fraction(str(target)) * len(impostor))
    found = val_at_far(distances, same, target)
    assert np.sum(impostor < found.threshold) <= allowed < np.sum(impostor < np.nextafter(found.threshold, 9))
    assert found.val == np.mean(distances[same] < found.threshold)
    assert found.far == np.mean(impostor < found.threshold)


def test_the_allowed_count_uses_the_decimal_number_as_written() -> None:
    # 0.29 * 100 is 28.999999999999996 in binary, yet 29 false accepts are allowed
    distances = np.concatenate([np.arange(100), [28.5]])
    same = np.arange(101) == 100
    assert val_at_far(distances, same, 0.29).far == 0.29
    assert val_at_far(distances, same, 0.29).val == 1.0


def test_perfect_separation_and_its_reverse() -> None:
    distances, same = np.array([0.1, 0.2, 0.8, 0.9]), np.array([True, True, False, False])
    assert (auc(distances, same), eer(distances, same)) == (1.0, 0.0)
    assert (auc(distances, ~same), eer(distances, ~same)) == (0.0, 1.0)


def test_all_distances_equal_is_chance() -> None:
    distances, same = np.full(7, 0.5), np.arange(7) < 3
    assert (auc(distances, same), eer(distances, same)) == (0.5, 0.5)
    assert val_at_far(distances, same, 0.1) == (0.0, 0.0, 0.5)


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_of_pair_gives_nan(kind: bool) -> None:
    distances, same = [0.1, 0.2], [kind, kind]
    assert np.isnan(auc(distances, same))
    assert np.isnan(eer(distances, same))
    assert np.isnan(val_at_far(distances, same, 0.1)).all()
    far, val, threshold = roc(distances, same)
    assert np.isnan(far if kind else val).all()
    assert threshold.tolist() == [0.1, 0.2, np.inf]


def test_pieces_of_a_large_input_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    distances, same = _pairs(3, 2)
    whole = auc(distances, same), [part.tolist() for part in roc(distances, same)]
    monkeypatch.setattr("bench.verification.exact._CHUNK", 7)
    assert (auc(distances, same), [part.tolist() for part in roc(distances, same)]) == whole


@pytest.mark.parametrize("figure", [auc, eer, roc])
@pytest.mark.parametrize("distances", [[], [[0.1, 0.2]], 0.5])
def test_anything_but_a_row_of_distances_is_refused(figure, distances) -> None:
    with pytest.raises(ValueError, match=r"distances must have shape \(P,\) with P > 0"):
        figure(distances, [True, False])


def test_d_prime_is_the_gap_in_pooled_deviations() -> None:
    distances, same = _pairs(5)
    genuine, impostor = distances[same], distances[~same]
    pooled = np.sqrt((genuine.std(ddof=1) ** 2 + impostor.std(ddof=1) ** 2) / 2)
    assert d_prime(distances, same) == pytest.approx((impostor.mean() - genuine.mean()) / pooled)
    assert d_prime(distances, ~same) == pytest.approx(-d_prime(distances, same))


def test_d_prime_of_nothing_to_spread_is_nan() -> None:
    assert np.isnan(d_prime([0.1, 0.2, 0.3], [True, False, False]))
    assert np.isnan(d_prime([0.1, 0.1, 0.3, 0.3], [True, True, False, False]))


@pytest.mark.parametrize(("seed", "decimals"), RANDOM[:8])
def test_det_equals_scikit_learn(seed: int, decimals: int | None) -> None:
    distances, same = _pairs(seed, decimals)
    far, frr, _ = det(distances, same)
    expected = {tuple(point) for point in np.round(np.stack(det_curve(same, -distances)[:2], 1), 12).tolist()}
    # scikit-learn leaves out the ends where one error no longer falls
    assert expected <= {tuple(point) for point in np.round(np.stack([far, frr], 1), 12).tolist()}
