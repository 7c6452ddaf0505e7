"""Agreement with facenet's published functions, run once with the last SciPy that accepts their input.

`facenet_scipy_1_8_1.json` holds what `calculate_roc` and `calculate_val` of davidsandberg/facenet (squared
Euclidean, `np.arange(0, 4, 0.01)` and `np.arange(0, 4, 0.001)`) returned for these pairs under Python 3.10,
scipy 1.8.1, numpy 1.22.4 and scikit-learn 1.1.3, and the thresholds they chose. Newer SciPy refuses the
duplicates that every training FAR has ("Expect x to not have duplicates").
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from bench.verification import far_key, pair_distances, verify
from bench.verification.facenet import Grid
from bench.verification.pairs import check_pairs

GOLDEN = json.loads((Path(__file__).parent / "facenet_scipy_1_8_1.json").read_text())["cases"]


class Case(NamedTuple):
    num_pairs: int
    num_folds: int
    noise: float  # 0.02 separates the kinds well, 0.2 mixes them
    dimension: int  # 2 dimensions tie nearly every distance


CASES = [
    Case(60, 10, 0.10, 8),
    Case(61, 10, 0.10, 8),
    Case(137, 10, 0.05, 8),
    Case(200, 5, 0.20, 8),
    Case(203, 7, 0.20, 4),
    Case(300, 10, 0.02, 8),
    Case(300, 10, 0.10, 2),
    Case(300, 3, 0.15, 2),
    Case(99, 2, 0.30, 6),
    Case(400, 10, 0.12, 8),
    Case(401, 9, 0.12, 3),
    Case(600, 10, 0.10, 6),
]


def _pairs(seed: int, case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates are multiples of 1/64, so that distances are exact on every machine and numpy version."""
    draw = random.Random(seed).random
    left, right, same = [], [], []
    for _ in range(case.num_pairs):
        genuine = draw() < 0.5
        first = [_on_grid(draw()) for _ in range(case.dimension)]
        if genuine:
            second = [_on_grid(value + case.noise * 4 * (draw() - 0.5)) for value in first]
        else:
            second = [_on_grid(draw()) for _ in range(case.dimension)]
        left.append(first)
        right.append(second)
        same.append(genuine)
    sizes = [
        case.num_pairs // case.num_folds + (i < case.num_pairs % case.num_folds)
        for i in range(case.num_folds)
    ]
    return np.array(left), np.array(right), np.array(same), np.repeat(np.arange(case.num_folds), sizes)


def _on_grid(value: float) -> float:
    return int(value * 64) / 64


@pytest.mark.parametrize("index", range(len(CASES)))
def test_every_digit_equals_the_published_code(index: int) -> None:
    left, right, same, fold = _pairs(index, CASES[index])
    golden = GOLDEN[index]
    fars = [float(far) for far in golden["val"]]
    figures = verify(pair_distances(left, right), same, fold, fars=fars)

    assert list(figures.fold_accuracy) == golden["accuracy"]
    assert list(figures.fold_threshold) == golden["threshold"]
    assert figures.metrics["accuracy"] == np.mean(golden["accuracy"])
    assert figures.metrics["accuracy_std"] == np.std(golden["accuracy"])
    for far in fars:
        published = {name: golden["val"][repr(far)][name] for name in ("val", "val_std", "far")}
        assert figures.val_facenet[far_key(far)] == published


@pytest.mark.parametrize("index", range(len(CASES)))
def test_interpolated_thresholds_equal_scipys_up_to_rounding(index: int) -> None:
    left, right, same, fold = _pairs(index, CASES[index])
    pairs = check_pairs(pair_distances(left, right), same, fold)
    for far, published in GOLDEN[index]["val"].items():
        (val,) = Grid(pairs).figures((float(far),)).val
        np.testing.assert_allclose(val.threshold, published["threshold"], rtol=0, atol=1e-15)
