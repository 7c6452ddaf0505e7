"""facenet's cross-validated accuracy and VAL, digit for digit, by counting instead of looping.

facenet compares every distance with each of 4,400 thresholds, once per fold. Here every distance finds its
place between two thresholds, one count per (fold, same, place) follows, and running sums give the number of
accepted pairs at every threshold; a training set is everything less its fold.

Source: D. Sandberg, facenet, `calculate_roc` and `calculate_val`. Checked against: davidsandberg/facenet
run with SciPy 1.8.1, the last one it runs with (`tests/bench/verification/test_facenet_golden.py`), and a
plain loop (`test_facenet.py`).

Differs from the published code: a FAR that the training pairs reach exactly, and never exceed below distance
4, takes the last threshold of the grid; SciPy's spline gave 0 there, by dividing by an interval of no width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.verification.pairs import Pairs

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

# facenet's grids, made as facenet makes them; each value of the coarser one is one of the finer, to the bit
ACCURACY_GRID = np.arange(0, 4, 0.01)
VAL_GRID = np.arange(0, 4, 0.001)
_EDGES = len(VAL_GRID)
_EDGES_PER_UNIT = 1000

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


class Grid:
    """Pairs with their places on the grid found, so that figures can be taken again under other weights.

    Args:
        pairs: the protocol's pairs.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        rows = np.atleast_2d(pairs.distances)
        self._places = np.stack([_places(row) for row in rows])

    def figures(self, fars: tuple[float, ...], weights: Counts | None = None) -> FoldFigures:
        """Test every fold at thresholds chosen on the other folds.

        Accuracy: the threshold of ACCURACY_GRID with most correct training pairs, the first on ties. VAL:
        where the training FAR, interpolated linearly over VAL_GRID, is the target; of several thresholds with
        one FAR the last bounds the interpolation from the left and the first from the right, which is what
        SciPy's "slinear" did before it refused such input; 0.0 where the target is not reached.

        Args:
            fars: false accept rates to take VAL at.
            weights: (P,) how often each pair counts, 0 or more; once each when left out.
        """
        pairs = self.pairs
        accuracy, threshold = np.empty(pairs.num_folds), np.empty(pairs.num_folds)
        val_threshold = np.empty((len(fars), pairs.num_folds))
        unreached: list[list[int]] = [[] for _ in fars]
        for folds, test, training in self._accepted(weights):
            accuracy[folds], threshold[folds] = _best_accuracy(test, training)
            for fold, accepted in zip(folds, training[:, 0], strict=True):
                num_impostor = accepted[-1]
                if not num_impostor:
                    val_threshold[:, fold] = np.nan
                    continue
                training_far = accepted[:_EDGES] / num_impostor
                for index, far in enumerate(fars):
                    if training_far[-1] >= far:
                        val_threshold[index, fold] = np.interp(far, training_far, VAL_GRID)
                    else:
                        val_threshold[index, fold] = 0.0
                        unreached[index].append(int(fold))
        val = (
            FoldVal(chosen, *self._accepted_shares(chosen, weights), tuple(folds))
            for chosen, folds in zip(val_threshold, unreached, strict=True)
        )
        return FoldFigures(accuracy, threshold, tuple(val))

    def _accepted(self, weights: Counts | None) -> Iterator[tuple[Counts, Counts, Counts]]:
        """Number of accepted pairs at every edge: some folds (B,), test and training counts (B, 2, E + 1).

        Axis 1 is impostor, genuine; the last count is of all pairs.
        """
        pairs = self.pairs
        if len(self._places) > 1:
            for fold, places in enumerate(self._places):
                counts = _count(places, pairs.same, (pairs.fold == fold).astype(np.intp), 2, weights)
                yield np.array([fold]), counts[1:], counts[:1]
            return
        (places,) = self._places
        if pairs.num_folds <= _FOLDS:
            test = _count(places, pairs.same, pairs.fold, pairs.num_folds, weights)
            yield np.arange(pairs.num_folds), test, test.sum(axis=0) - test
            return
        total = _count(places, pairs.same, np.zeros_like(pairs.fold), 1, weights)
        for first in range(0, pairs.num_folds, _FOLDS):
            folds = np.arange(first, min(first + _FOLDS, pairs.num_folds))
            members = (pairs.fold >= first) & (pairs.fold < first + len(folds))
            weight = None if weights is None else weights[members]
            group = pairs.fold[members] - first
            test = _count(places[members], pairs.same[members], group, len(folds), weight)
            yield folds, test, total - test

    def _accepted_shares(self, threshold: Floats, weights: Counts | None) -> tuple[Floats, Floats]:
        """VAL and FAR (F,) of every fold at its own threshold; nan where undefined."""
        pairs, distances = self.pairs, self.pairs.tested()
        cells = 2 * pairs.num_folds
        total, accepted = np.zeros(cells, dtype=np.int64), np.zeros(cells, dtype=np.int64)
        for part in _parts(len(distances)):
            cell = 2 * pairs.fold[part] + pairs.same[part]
            weight = np.ones(len(cell)) if weights is None else weights[part]
            inside = distances[part] < threshold[pairs.fold[part]]
            total += np.bincount(cell, weight, cells).astype(np.int64)
            accepted += np.bincount(cell, weight * inside, cells).astype(np.int64)
        share = np.full((pairs.num_folds, 2), np.nan)
        defined = (total > 0).reshape(-1, 2) & ~np.isnan(threshold)[:, None]
        np.divide(accepted.reshape(-1, 2), total.reshape(-1, 2), out=share, where=defined)
        return share[:, 1], share[:, 0]


def _best_accuracy(test: Counts, training: Counts) -> tuple[Floats, Floats]:
    """Accuracy on the folds at the first threshold that is best in training; counts (B, 2, E + 1)."""
    on_grid = training[..., :_EDGES:10]
    best = np.argmax(on_grid[:, 1] - on_grid[:, 0], axis=1)  # correct pairs, less the number of impostors
    fold, place = np.arange(len(best)), 10 * best
    impostor, genuine = test[:, 0, -1], test[:, 1, -1]
    test_correct = test[fold, 1, place] + impostor - test[fold, 0, place]
    accuracy = np.full(len(best), np.nan)
    np.divide(test_correct, genuine + impostor, out=accuracy, where=genuine + impostor > 0)
    return accuracy, ACCURACY_GRID[best]


def _places(distances: Floats) -> npt.NDArray[np.uint16]:
    """How many edges are <= each distance: the pair is accepted at edge k exactly when that is <= k."""
    places = np.empty(len(distances), dtype=np.uint16)
    for part in _parts(len(distances)):
        # edge k times 1000 rounds to k or above, for every k, so truncation finds the last edge below a
        # distance or the one after it; one comparison tells, five times faster than a binary search
        values = distances[part]
        guess = (np.minimum(values, VAL_GRID[-1]) * _EDGES_PER_UNIT).astype(np.intp)
        places[part] = guess + (VAL_GRID[guess] <= values)
    return places


def _count(
    places: npt.NDArray[np.uint16],
    same: npt.NDArray[np.bool_],
    group: npt.NDArray[np.intp],
    num_groups: int,
    weights: Counts | None,
) -> Counts:
    """(groups, 2, E + 1): pairs of each kind accepted at each edge, and in all."""
    shape = (num_groups, 2, _EDGES + 1)
    counts = np.zeros(0, dtype=np.int64)
    for part in _parts(len(places)):
        cell = (2 * group[part] + same[part]) * shape[-1] + places[part]
        weight = None if weights is None else weights[part]
        found = np.bincount(cell, weight, math.prod(shape)).astype(np.int64, copy=False)
        counts = counts + found if len(counts) else found
    counts = counts.reshape(shape)
    return np.cumsum(counts, axis=-1, out=counts)


def _parts(size: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, size, _CHUNK))
