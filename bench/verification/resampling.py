"""The figures of a protocol under weights of its pairs, and random weights: what every bootstrap needs.

A replicate gives each pair a whole number of copies. Pairs sorted once stay sorted when copied, so a
replicate of 6,000 pairs costs a millisecond and uses the very code of `verify`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bench.verification.exact import Sorted, auc_of, d_prime_of, eer_of, val_at_far_of
from bench.verification.facenet import Counts, Grid
from bench.verification.pairs import Pairs, far_key

Floats = npt.NDArray[np.float64]


class Figures:
    """Figures of checked pairs, again and again under other weights.

    Args:
        pairs: the protocol's pairs.
        fars: false accept rates to take VAL at.
    """

    def __init__(self, pairs: Pairs, fars: tuple[float, ...]) -> None:
        self._grid, self._fars = Grid(pairs), fars
        distances = pairs.tested()
        order = np.argsort(distances, kind="stable")
        self._genuine, self._impostor = order[pairs.same[order]], order[~pairs.same[order]]
        self._sorted = Sorted(distances[self._genuine], distances[self._impostor])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the figures, in the order of `values`."""
        per_far = ("val_at_far_", "far_at_far_", "val_exact_at_far_")
        return (
            "accuracy",
            "best_threshold",
            *(name + far_key(far) for far in self._fars for name in per_far),
            "auc",
            "eer",
            "d_prime",
        )

    def values(self, weights: Counts | None = None) -> Floats:
        """Every figure when each pair counts as often as its weight says; nan where undefined.

        A fold that the weights leave empty does not enter the means over folds.
        """
        by_fold = self._grid.figures(self._fars, weights)
        in_order = self._sorted
        if weights is not None:
            in_order = Sorted(
                np.repeat(in_order.genuine, weights[self._genuine]),
                np.repeat(in_order.impostor, weights[self._impostor]),
            )
        if in_order.missing():
            return np.full(len(self.names), np.nan)
        values = [_mean(by_fold.accuracy, weights), float(np.mean(by_fold.threshold))]
        for far, val in zip(self._fars, by_fold.val, strict=True):
            values += [_mean(val.val, weights), _mean(val.far, weights), val_at_far_of(in_order, far).val]
        return np.array([*values, auc_of(in_order), eer_of(in_order), d_prime_of(in_order)])


def draws(
    pairs: Pairs,
    *,
    identities: npt.NDArray[np.intp] | None,
    replicates: int,
    seed: int,
) -> Iterator[Counts]:
    """Random weights (P,), one array a replicate: pairs drawn with replacement, or people.

    By pair: within each fold and kind as many as there are, as the protocol fixes them. By identity: people
    are drawn; a genuine pair counts as often as its person was drawn, an impostor pair as the product of
    both (A. Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1(2), 2007).

    Args:
        pairs: the protocol's pairs.
        identities: (P, 2) person of either side, from `check_identities`; None draws pairs.
        replicates: how many arrays.
        seed: same seed, same arrays.
    """
    random = np.random.default_rng(seed)
    if identities is not None:
        people = int(identities.max()) + 1
        left, right = identities.T
        for _ in range(replicates):
            drawn = np.bincount(random.integers(0, people, people), minlength=people)
            yield np.where(pairs.same, drawn[left], drawn[left] * drawn[right])
        return
    stratum = 2 * pairs.fold + pairs.same
    order = np.argsort(stratum, kind="stable")
    sizes = np.bincount(stratum)
    start, size = np.repeat(np.cumsum(sizes) - sizes, sizes), np.repeat(sizes, sizes)
    for _ in range(replicates):
        drawn = start + (random.random(len(order)) * size).astype(np.intp)
        weights = np.empty(len(order), dtype=np.int64)
        weights[order] = np.bincount(drawn, minlength=len(order))
        yield weights


def check_identities(
    identities: npt.ArrayLike | None, same: npt.NDArray[np.bool_]
) -> npt.NDArray[np.intp] | None:
    """Person of either side of each pair, renumbered 0, 1, 2, ... without gaps.

    Raises:
        ValueError: not (P, 2), or people that contradict `same`.
    """
    if identities is None:
        return None
    values = np.asarray(identities)
    if values.shape != (len(same), 2):
        raise ValueError(
            f"identities must have shape ({len(same)}, 2), the person of either side, but got {values.shape}"
        )
    wrong = (values[:, 0] == values[:, 1]) != same
    if wrong.any():
        pair = int(np.argmax(wrong))
        rule = "one person" if same[pair] else "two people"
        named = " and ".join(map(str, values[pair].tolist()))
        raise ValueError(f"pair {pair} is of {rule} by `same`, but its identities are {named}")
    return np.unique(values, return_inverse=True)[1].reshape(values.shape).astype(np.intp)


def _mean(values: Floats, weights: Counts | None) -> float:
    if weights is not None:
        values = values[~np.isnan(values)]
        if not len(values):
            return np.nan
    return float(np.mean(values))
