"""What `verify` returns, what it calls undefined and why, and what it refuses."""

from __future__ import annotations

import doctest
import importlib
import math
import pkgutil
import re
import tracemalloc
import warnings

import numpy as np
import pytest

import bench.verification
from bench.verification import far_key, verify


def _pairs(num_pairs: int = 200, num_folds: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    same = np.arange(num_pairs) % 2 == 0
    distances = np.abs(draw.normal(np.where(same, 0.7, 1.4), 0.3))
    return distances, same, np.arange(num_pairs) * num_folds // num_pairs


MODULES = [module.name for module in pkgutil.iter_modules(bench.verification.__path__, "bench.verification.")]


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_hold(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_every_metric_of_the_definitions_is_there_once() -> None:
    assert list(verify(*_pairs()).metrics) == [
        "accuracy",
        "accuracy_std",
        "accuracy_se",
        "best_threshold",
        "val_at_far_1e-3",
        "val_std",
        "far",
        "val_exact_at_far_1e-3",
        "auc",
        "eer",
    ]


def test_further_fars_name_their_figures() -> None:
    figures = verify(*_pairs(), fars=(1e-1, 5e-2))
    alone = verify(*_pairs(), fars=(5e-2,))
    assert set(figures.metrics) - set(verify(*_pairs(), fars=(1e-1,)).metrics) == {
        "val_at_far_5e-2",
        "val_std_at_far_5e-2",
        "far_at_far_5e-2",
        "val_exact_at_far_5e-2",
    }
    assert figures.metrics["val_std_at_far_5e-2"] == alone.metrics["val_std"]
    assert figures.metrics["far_at_far_5e-2"] == alone.metrics["far"]
    assert figures.val_facenet["5e-2"] == alone.val_facenet["5e-2"]
    assert figures.val_exact["5e-2"] == alone.val_exact["5e-2"]
    assert set(figures.val_exact["5e-2"]) == {"val", "far", "threshold"}


def test_both_conventions_of_plus_minus() -> None:
    figures = verify(*_pairs())
    accuracy = np.array(figures.fold_accuracy)
    assert figures.metrics["accuracy"] == accuracy.mean()
    assert figures.metrics["accuracy_std"] == pytest.approx(
        math.sqrt(np.mean((accuracy - accuracy.mean()) ** 2))
    )
    sample = math.sqrt(np.sum((accuracy - accuracy.mean()) ** 2) / 9)
    assert figures.metrics["accuracy_se"] == pytest.approx(sample / math.sqrt(10))


def test_well_formed_pairs_need_no_reason() -> None:
    figures = verify(*_pairs())
    assert figures.reasons == {}
    assert (figures.num_genuine, figures.num_impostor) == (100, 100)


@pytest.mark.parametrize(
    ("far", "key"),
    [(1e-3, "1e-3"), (5e-4, "5e-4"), (0.1, "1e-1"), (0.01, "1e-2"), (0.025, "2.5e-2"), (1e-10, "1e-10")],
)
def test_a_far_is_named_by_its_shortest_digits(far: float, key: str) -> None:
    assert far_key(far) == key
    assert far_key(np.float64(far)) == key
    assert float(key) == far


@pytest.mark.parametrize(("kind", "reason"), [(True, "impostor"), (False, "genuine")])
def test_pairs_of_one_kind_give_nan_with_the_reason(kind: bool, reason: str) -> None:
    distances, same, fold = _pairs()
    figures = verify(distances, np.full_like(same, kind), fold)
    assert all(math.isnan(value) for value in figures.metrics.values())
    assert all(math.isnan(value) for value in figures.val_exact["1e-3"].values())
    assert all(math.isnan(value) for value in figures.val_facenet["1e-3"].values())
    assert dict(figures.reasons) == dict.fromkeys(figures.metrics, f"there are no {reason} pairs")


def test_a_fold_without_impostors_has_no_far_but_a_val() -> None:
    distances, same, fold = _pairs()
    same = same | (fold == 3) | (fold == 7)
    figures = verify(distances, same, fold)
    assert math.isnan(figures.metrics["far"])
    assert dict(figures.reasons) == {"far": "no impostor pairs in folds 3, 7"}
    assert not math.isnan(figures.metrics["val_at_far_1e-3"] + figures.metrics["accuracy"])


def test_a_fold_without_genuine_pairs_has_no_val_but_a_far() -> None:
    distances, same, fold = _pairs()
    figures = verify(distances, same & (fold != 3), fold, fars=(0.1, 0.2))
    undefined = {name for name, value in figures.metrics.items() if math.isnan(value)}
    assert undefined == {"val_at_far_1e-1", "val_std", "val_at_far_2e-1", "val_std_at_far_2e-1"}
    assert dict(figures.reasons) == dict.fromkeys(undefined, "no genuine pairs in fold 3")


def test_impostors_in_one_fold_only_leave_that_fold_without_a_threshold() -> None:
    distances, same, fold = _pairs()
    figures = verify(distances, same | (fold != 3), fold)
    undefined = {name for name, value in figures.metrics.items() if math.isnan(value)}
    assert undefined == {"val_at_far_1e-3", "val_std", "far"}
    reason = "no impostor pairs outside fold 3, so there is no threshold"
    assert dict(figures.reasons) == dict.fromkeys(undefined, reason)


def test_a_far_beyond_the_grid_keeps_facenets_threshold_and_says_so() -> None:
    distances, same, fold = _pairs()
    distances[~same] += 5
    figures = verify(distances, same, fold)
    assert figures.metrics["val_at_far_1e-3"] == 0.0
    assert figures.metrics["val_exact_at_far_1e-3"] == 1.0
    assert dict(figures.reasons) == {
        "val_at_far_1e-3": "training pairs for folds 0, 1, 2, 3, 4 and 5 more never reach FAR 1e-3 below "
        "distance 4; facenet's threshold 0.0 accepts nothing there"
    }


def test_a_fold_a_pair_is_allowed() -> None:
    distances, same, _ = _pairs(150)
    figures = verify(distances, same, np.arange(150))
    assert set(figures.fold_accuracy) == {0.0, 1.0}
    assert figures.metrics["accuracy"] > 0.8
    assert math.isnan(figures.metrics["val_at_far_1e-3"])


def test_undefined_figures_raise_no_warning() -> None:
    distances, same, fold = _pairs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mask in (same | True, same & False, same | (fold == 1), same & (fold != 1), same | (fold != 1)):
            verify(distances, mask, fold)


def test_the_inputs_are_left_as_they_were() -> None:
    arrays = _pairs()
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.setflags(write=False)
    verify(*arrays)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_order_of_the_pairs_does_not_matter() -> None:
    distances, same, fold = _pairs()
    order = np.random.default_rng(1).permutation(len(fold))
    assert verify(distances[order], same[order], fold[order]) == verify(distances, same, fold)


def test_pieces_of_a_large_input_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = verify(*_pairs())
    monkeypatch.setattr("bench.verification.facenet._CHUNK", 17)
    monkeypatch.setattr("bench.verification.facenet._FOLDS", 3)
    assert verify(*_pairs()) == whole


GOOD = {"distances": [0.1, 0.9, 0.2, 0.8], "same": [True, False, True, False], "fold": [0, 0, 1, 1]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distances": []}, "distances must be real numbers of shape (P,) or (F, P), but got float64 (0,)"),
        ({"distances": 0.5}, "distances must be real numbers of shape (P,) or (F, P), but got float64 ()"),
        ({"distances": ["a"]}, "distances must be real numbers of shape (P,) or (F, P), but got <U1 (1,)"),
        (
            {"distances": [[0.1, 0.9, 0.2, 0.8]] * 3},
            "distances of shape (F, P) need F = 2 folds, but got (3, 4)",
        ),
        (
            {"distances": [0.1, math.nan, 0.2, 0.8]},
            "distances must be finite, but pair 1 has nan; drop no pair, fix it",
        ),
        (
            {"distances": [0.1, 0.9, math.inf, 0.8]},
            "distances must be finite, but pair 2 has inf; drop no pair, fix it",
        ),
        (
            {"distances": [0.1, 0.9, -0.2, 0.8]},
            "distances must be >= 0 and smaller for more similar faces, but the least is -0.2; "
            "turn a cosine similarity s into 1 - s",
        ),
        ({"same": [True]}, "same must have shape (4,) like the distances, but got (1,)"),
        ({"same": [1, 0, 1, 2]}, "same must be True or False (or 1 and 0), but got int64 values"),
        ({"same": [0.0, 1.0, 0.0, 1.0]}, "same must be True or False (or 1 and 0), but got float64 values"),
        ({"fold": [0, 0, 1]}, "fold must be integers of shape (4,) like the distances, but got int64 (3,)"),
        (
            {"fold": [0.0, 0.0, 1.0, 1.0]},
            "fold must be integers of shape (4,) like the distances, but got float64 (4,)",
        ),
        ({"fold": [0, 0, 0, 0]}, "cross-validation needs at least 2 folds, but all pairs are in fold 0"),
        (
            {"fold": [1, 1, 2, 2]},
            "fold numbers must run from 0 to F - 1, each with a pair, but fold 0 of 3 is empty",
        ),
        (
            {"fold": [0, 0, 3, 1]},
            "fold numbers must run from 0 to F - 1, each with a pair, but fold 2 of 4 is empty",
        ),
        (
            {"fold": [-1, 0, 1, 2]},
            "fold numbers must run from 0 to F - 1, each with a pair, but they are -1 to 2",
        ),
        (
            {"fold": [0, 0, 1, 10**12]},
            "fold numbers must run from 0 to F - 1, each with a pair, but they are 0 to 1000000000000",
        ),
        ({"fars": ()}, "at least one FAR is needed, such as 1e-3"),
        ({"fars": (0.0,)}, "a FAR must lie between 0 and 1, but got 0"),
        ({"fars": (1e-3, 1.5)}, "a FAR must lie between 0 and 1, but got 1.5"),
        ({"fars": (math.nan,)}, "a FAR must lie between 0 and 1, but got nan"),
        ({"fars": (1e-3, 0.001)}, "each FAR must be given once, but got 1e-3, 1e-3"),
    ],
)
def test_malformed_input_is_refused_in_one_line(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        verify(**(GOOD | change))


def test_zeros_and_ones_are_good_labels() -> None:
    assert verify(**(GOOD | {"same": [1, 0, 1, 0]})) == verify(**GOOD)


def test_memory_stays_a_small_multiple_of_the_distances() -> None:
    # two million here; the same code takes 120 MB beyond ten million distances of 80 MB
    distances, same, fold = _pairs(2_000_000)
    tracemalloc.start()
    verify(distances, same, fold)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * distances.nbytes
