"""facenet's rule against a plain loop written from its description, over random cases of every difficulty."""

from __future__ import annotations

import bisect
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from bench.verification import ACCURACY_GRID, VAL_GRID, far_key, verify
from bench.verification.facenet import Grid, _places
from bench.verification.pairs import check_pairs

ACCURACY_THRESHOLDS = np.arange(0, 4, 0.01).tolist()
VAL_THRESHOLDS = np.arange(0, 4, 0.001).tolist()


class Case(NamedTuple):
    seed: int
    num_pairs: int
    num_folds: int
    overlap: float
    decimals: int | None  # distances rounded to so many digits are heavily tied, also with the grid
    kind: str = "contiguous"


CASES = [
    *(Case(seed, 200, 10, 0.3, None) for seed in range(6)),
    *(Case(seed, 203, 10, 0.5, None) for seed in range(6, 12)),
    *(Case(seed, 120, 5, 0.4, 2) for seed in range(12, 18)),
    *(Case(seed, 97, 4, 0.6, 3) for seed in range(18, 22)),
    *(Case(seed, 150, 3, 0.5, 1) for seed in range(22, 26)),
    *(Case(seed, 211, 7, 0.4, None, "scattered") for seed in range(26, 30)),
    *(Case(seed, 160, 4, 0.3, 2, "unequal") for seed in range(30, 33)),
    *(Case(seed, 160, 5, 0.2, None, "far away") for seed in range(33, 36)),
    Case(36, 140, 70, 0.4, 3, "scattered"),
]
FARS = (1e-3, 1e-2, 0.05, 0.1, 0.5)


def _pairs(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(case.seed)
    num_pairs, num_folds = case.num_pairs, case.num_folds
    fold = np.arange(num_pairs) % num_folds if case.kind == "scattered" else None
    if fold is None:
        fold = np.sort(np.arange(num_pairs) * num_folds // num_pairs)
    if case.kind == "unequal":  # one fold holds nearly everything
        fold = np.where(np.arange(num_pairs) < 4 * num_folds, np.arange(num_pairs) % num_folds, 0)
    # two genuine and two impostor pairs a fold at least, so that every figure is defined
    same = draw.random(num_pairs) < 0.5
    for index in range(num_folds):
        members = np.flatnonzero(fold == index)
        same[members[0]], same[members[-1]] = True, False
    distances = np.where(
        same, draw.normal(0.7, case.overlap, num_pairs), draw.normal(1.4, case.overlap, num_pairs)
    )
    distances = np.abs(distances)
    if case.kind == "far away":  # beyond the grid, so that the FARs are never reached
        distances[~same] += 3.5
    if case.decimals is not None:
        distances = distances.round(case.decimals)
    return distances, same, fold


def _share_below(values: list[float], threshold: float) -> float:
    return float(sum(value < threshold for value in values)) / len(values)


def _threshold_at(target: float, fars: list[float]) -> float:
    """Straight line through the first pair of neighbours around the target; the last of equal neighbours."""
    if max(fars) < target:
        return 0.0
    for (low_far, high_far), (low, high) in zip(pairwise(fars), pairwise(VAL_THRESHOLDS), strict=True):
        if low_far <= target < high_far:
            return (high - low) / (high_far - low_far) * (target - low_far) + low
    return VAL_THRESHOLDS[-1]


def _reference(distances: np.ndarray, same: np.ndarray, fold: np.ndarray) -> dict[str, list]:
    figures: dict[str, list] = {"accuracy": [], "threshold": [], "val": [], "far": []}
    for index in range(fold.max() + 1):
        train, test = fold != index, fold == index
        best, best_accuracy = 0.0, -1.0
        for threshold in ACCURACY_THRESHOLDS:
            accuracy = float(np.mean((distances[train] < threshold) == same[train]))
            if accuracy > best_accuracy:
                best, best_accuracy = threshold, accuracy
        correct = np.sum((distances[test] < best) == same[test])
        figures["accuracy"].append(float(correct) / test.sum())
        figures["threshold"].append(best)
        impostors = sorted(distances[train & ~same].tolist())
        train_fars = [
            bisect.bisect_left(impostors, threshold) / len(impostors) for threshold in VAL_THRESHOLDS
        ]
        chosen = [_threshold_at(far, train_fars) for far in FARS]
        figures["val"].append(
            [_share_below(distances[test & same].tolist(), threshold) for threshold in chosen]
        )
        figures["far"].append(
            [_share_below(distances[test & ~same].tolist(), threshold) for threshold in chosen]
        )
    return figures


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.seed}-{case.kind}")
def test_every_digit_equals_a_plain_loop(case: Case) -> None:
    distances, same, fold = _pairs(case)
    expected = _reference(distances, same, fold)
    figures = verify(distances, same, fold, fars=FARS)

    assert list(figures.fold_accuracy) == expected["accuracy"]
    assert list(figures.fold_threshold) == expected["threshold"]
    assert figures.metrics["accuracy"] == np.mean(expected["accuracy"])
    assert figures.metrics["accuracy_std"] == np.std(expected["accuracy"])
    assert figures.metrics["best_threshold"] == np.mean(expected["threshold"])
    for index, far in enumerate(FARS):
        val = np.array(expected["val"])[:, index].copy()
        assert figures.val_facenet[far_key(far)] == {
            "val": np.mean(val),
            "val_std": np.std(val),
            "far": np.mean(np.array(expected["far"])[:, index].copy()),
        }


def test_the_cases_reach_what_they_are_for() -> None:
    tied = sum(len(np.unique(_pairs(case)[0])) < case.num_pairs / 2 for case in CASES)
    on_grid = sum(bool(np.isin(_pairs(case)[0], ACCURACY_GRID).any()) for case in CASES)
    unreached = sum("never reach FAR" in str(dict(verify(*_pairs(case)).reasons)) for case in CASES)
    assert min(tied, on_grid, unreached) >= 3


def test_grids_are_facenets_own_floats() -> None:
    assert ACCURACY_GRID.tolist() == ACCURACY_THRESHOLDS
    assert VAL_GRID.tolist() == VAL_THRESHOLDS
    # counting relies on it: one grid's places serve both
    assert VAL_GRID[::10].tolist() == ACCURACY_GRID.tolist()


def test_places_on_the_grid_are_exact_also_next_to_every_edge() -> None:
    edges = np.concatenate([VAL_GRID, np.linspace(0, 5, 50_001), [4.0, 1e9, 1.7e308, 5e-324, 0.0]])
    for distances in (edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf)):
        np.testing.assert_array_equal(_places(distances), np.searchsorted(VAL_GRID, distances, side="right"))


def test_a_pair_at_the_threshold_is_rejected() -> None:
    # training on fold 1 gives threshold 0.01, the first above 0; the genuine pair of fold 0 lies on it
    distances = [0.01, 1.0, 0.0, 1.0]
    figures = verify(distances, [True, False, True, False], [0, 0, 1, 1])
    assert figures.fold_threshold[0] == 0.01
    assert figures.fold_accuracy[0] == 0.5


def test_a_far_that_is_reached_exactly_and_never_exceeded_takes_the_last_threshold() -> None:
    # in either fold one impostor of two lies below 4: FAR 0.5 is reached, and nothing above it
    distances, same = [0.1, 0.9, 5.0, 0.1, 0.9, 5.0], [True, False, False] * 2
    pairs = check_pairs(distances, same, [0, 0, 0, 1, 1, 1])
    (val,) = Grid(pairs).figures((0.5,)).val
    assert val.threshold.tolist() == [3.999, 3.999]
    assert val.unreached == ()


def test_distances_that_depend_on_the_fold_are_tested_in_their_row() -> None:
    draw = np.random.default_rng(1)
    num_folds, num_pairs = 4, 120
    fold = np.arange(num_pairs) % num_folds
    same = draw.random(num_pairs) < 0.5
    distances = np.abs(draw.normal(np.where(same, 0.7, 1.4), 0.4, (num_folds, num_pairs)))
    figures = verify(distances, same, fold, fars=(0.1,))
    for index in range(num_folds):
        alone = verify(distances[index], same, fold, fars=(0.1,))
        assert figures.fold_accuracy[index] == alone.fold_accuracy[index]
        assert figures.fold_threshold[index] == alone.fold_threshold[index]
    # figures over all pairs take each pair's distance from the fold that tests it
    pooled = verify(distances[fold, np.arange(num_pairs)], same, fold, fars=(0.1,))
    for name in ("auc", "eer", "val_exact_at_far_1e-1"):
        assert figures.metrics[name] == pooled.metrics[name]


def test_equal_rows_give_what_one_row_gives() -> None:
    distances, same, fold = _pairs(CASES[0])
    num_folds = int(fold.max()) + 1
    assert verify(np.tile(distances, (num_folds, 1)), same, fold) == verify(distances, same, fold)
    assert verify(np.broadcast_to(distances, (num_folds, len(fold))), same, fold) == verify(
        distances, same, fold
    )


def test_float32_distances_are_compared_in_float64() -> None:
    # float32(0.7) is below the grid's 0.7000000000000001 and, rounded to float32, would equal it
    single = np.array([0.7, 1.0, 0.7, 1.0], dtype=np.float32)
    pairs = ([True, False, True, False], [0, 0, 1, 1])
    assert verify(single, *pairs) == verify(single.astype(np.float64), *pairs)
    assert verify(single, *pairs).fold_threshold == (ACCURACY_GRID[70], ACCURACY_GRID[70])
