"""facenet's cross-validated accuracy and VAL, digit for digit, by counting instead of looping.

facenet compares every distance with each of 4,400 thresholds, once per fold. Here one binary search puts
every distance between two thresholds, one count per (fold, same, place) follows, and running sums give the
number of accepted pairs at every threshold; a training set is everything less its fold.

Source: D. Sandberg, facenet, `calculate_roc` and `calculate_val`. Checked against: davidsandberg/facenet
run with SciPy 1.8.1, the last one it runs with (`tests/bench/verification/test_facenet_golden.py`), and a
plain loop (`test_facenet.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.verification.pairs import Pairs

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

# facenet's grids, made as facenet makes them; places are counted on their union, so that both stay exact
# however their common values are rounded
ACCURACY_GRID = np.arange(0, 4, 0.01)
VAL_GRID = np.arange(0, 4, 0.001)
_EDGES = np.union1d(ACCURACY_GRID, VAL_GRID)
_ACCURACY_AT = np.searchsorted(_EDGES, ACCURACY_GRID)
_VAL_AT = np.searchsorted(_EDGES, VAL_GRID)

# distances at a time and folds at a time: bound the memory of 10 million pairs, or of a fold a pair
_CHUNK = 1 << 18
_FOLDS = 64


@dataclass(frozen=True, slots=True)
class FoldVal:
    """VAL by facenet's rule at one FAR.

    Attributes:
        threshold: (F,) chosen on each fold's training pairs; nan where these hold no impostor.
        val: (F,) share of the fold's genuine pairs accepted; nan without such pairs.
        far: (F,) share of the fold's impostor pairs accepted; nan without such pairs.
        unreached: folds whose training pairs never reach the FAR on the grid; their threshold is 0.0.
    """

    threshold: Floats
    val: Floats
    far: Floats
    unreached: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FoldFigures:
    """Accuracy and its threshold per fold (F,), and VAL per requested FAR."""

    accuracy: Floats
    threshold: Floats
    val: tuple[FoldVal, ...]


def fold_figures(pairs: Pairs, fars: tuple[float, ...]) -> FoldFigures:
    """Test every fold at thresholds chosen on the other folds.

    Accuracy: the threshold of ACCURACY_GRID with most correct training pairs, the first on ties. VAL: where
    the training FAR, interpolated linearly over VAL_GRID, is the target; of several thresholds with one FAR
    the last bounds the interpolation from the left and the first from the right, which is what SciPy's
    "slinear" did before it refused such input; 0.0 where the target is not reached.
    """
    accuracy, threshold = np.empty(pairs.num_folds), np.empty(pairs.num_folds)
    val_threshold = np.empty((len(fars), pairs.num_folds))
    unreached: list[list[int]] = [[] for _ in fars]
    for folds, test, training in _accepted(pairs):
        accuracy[folds], threshold[folds] = _best_accuracy(test, training)
        for fold, accepted in zip(folds, training[:, 0], strict=True):
            num_impostor = accepted[-1]
            if not num_impostor:
                val_threshold[:, fold] = np.nan
                continue
            training_far = accepted[_VAL_AT] / num_impostor
            for index, far in enumerate(fars):
                if training_far[-1] >= far:
                    val_threshold[index, fold] = np.interp(far, training_far, VAL_GRID)
                else:
                    val_threshold[index, fold] = 0.0
                    unreached[index].append(int(fold))
    val = (
        FoldVal(chosen, *_accepted_shares(pairs, chosen), tuple(folds))
        for chosen, folds in zip(val_threshold, unreached, strict=True)
    )
    return FoldFigures(accuracy, threshold, tuple(val))


def accepted_at(pairs: Pairs, threshold: Floats) -> npt.NDArray[np.bool_]:
    """(P,): is each pair accepted at the threshold (F,) of its own fold? Never at a threshold of nan."""
    accepted: npt.NDArray[np.bool_] = pairs.tested() < threshold[pairs.fold]
    return accepted


def _best_accuracy(test: Counts, training: Counts) -> tuple[Floats, Floats]:
    """Accuracy on the folds at the first threshold that is best in training; counts (B, 2, E + 1)."""
    correct = training[:, 1, _ACCURACY_AT] - training[:, 0, _ACCURACY_AT]  # less the number of impostors
    best = np.argmax(correct, axis=1)
    fold, place = np.arange(len(best)), _ACCURACY_AT[best]
    impostor, genuine = test[:, 0, -1], test[:, 1, -1]
    test_correct = test[fold, 1, place] + impostor - test[fold, 0, place]
    return test_correct / (genuine + impostor), ACCURACY_GRID[best]


def _accepted_shares(pairs: Pairs, threshold: Floats) -> tuple[Floats, Floats]:
    """VAL and FAR (F,) of every fold at its own threshold; nan where undefined."""
    kind = 2 * pairs.fold + pairs.same
    sizes = np.bincount(kind, minlength=2 * pairs.num_folds).reshape(-1, 2)
    accepted = np.bincount(kind[accepted_at(pairs, threshold)], minlength=2 * pairs.num_folds).reshape(-1, 2)
    share = np.full(sizes.shape, np.nan)
    np.divide(accepted, sizes, out=share, where=(sizes > 0) & ~np.isnan(threshold)[:, None])
    return share[:, 1], share[:, 0]


def _accepted(pairs: Pairs) -> Iterator[tuple[Counts, Counts, Counts]]:
    """Number of accepted pairs at every edge: some folds (B,), their test and training counts (B, 2, E + 1).

    Axis 1 is impostor, genuine; the last count is of all pairs.
    """
    if pairs.distances.ndim == 2:
        for fold, row in enumerate(pairs.distances):
            counts = _count(_places(row), pairs.same, (pairs.fold == fold).astype(np.intp), 2)
            yield np.array([fold]), counts[1:], counts[:1]
        return
    places = _places(pairs.distances)
    total = _count(places, pairs.same, np.zeros_like(pairs.fold), 1)
    for first in range(0, pairs.num_folds, _FOLDS):
        folds = np.arange(first, min(first + _FOLDS, pairs.num_folds))
        if len(folds) == pairs.num_folds:
            test = _count(places, pairs.same, pairs.fold, len(folds))
        else:
            of_block = (pairs.fold >= first) & (pairs.fold < first + len(folds))
            test = _count(places[of_block], pairs.same[of_block], pairs.fold[of_block] - first, len(folds))
        yield folds, test, total - test


def _places(distances: Floats) -> npt.NDArray[np.uint16]:
    """How many edges are <= each distance: the pair is accepted at edge k exactly when that is <= k."""
    places = np.empty(len(distances), dtype=np.uint16)
    for start in range(0, len(distances), _CHUNK):
        part = slice(start, start + _CHUNK)
        places[part] = np.searchsorted(_EDGES, distances[part], side="right")
    return places


def _count(
    places: npt.NDArray[np.uint16], same: npt.NDArray[np.bool_], group: npt.NDArray[np.intp], num_groups: int
) -> Counts:
    """(groups, 2, E + 1): pairs of each kind accepted at each edge, and in all."""
    shape = (num_groups, 2, len(_EDGES) + 1)
    counts = np.zeros(shape, dtype=np.int64)
    for start in range(0, len(places), _CHUNK):
        part = slice(start, start + _CHUNK)
        cell = (2 * group[part] + same[part]) * shape[-1] + places[part]
        counts += np.bincount(cell, minlength=counts.size).reshape(shape)
    return np.cumsum(counts, axis=-1, out=counts)
