"""Weights mean copies, and draws are what they say: pairs within fold and kind, or people."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bench.verification import verify
from bench.verification.pairs import check_pairs
from bench.verification.resampling import Figures, check_identities, draws

FARS = (1e-2, 0.1)


def _pairs(num_pairs: int = 240, num_folds: int = 4, seed: int = 0):
    draw = np.random.default_rng(seed)
    same = draw.random(num_pairs) < 0.5
    distances = np.abs(draw.normal(np.where(same, 0.7, 1.3), 0.3)).round(2)
    return distances, same, np.arange(num_pairs) * num_folds // num_pairs


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("by_fold", [False, True])
def test_figures_under_weights_are_those_of_copied_pairs(seed: int, by_fold: bool) -> None:
    distances, same, fold = _pairs(seed=seed)
    if by_fold:
        distances = np.stack([distances, distances * 1.1, distances + 0.05, distances * 0.9])
    weights = np.random.default_rng(seed + 100).integers(0, 4, len(same))
    figures = Figures(check_pairs(distances, same, fold), FARS)
    copied = [np.repeat(array, weights, axis=-1) for array in (distances, same, fold)]
    expected = verify(*copied, fars=FARS).metrics
    values = dict(zip(figures.names, figures.values(weights), strict=True))
    assert values["far_at_far_1e-2"] == expected["far"]
    for name in set(values) - {"far_at_far_1e-2", "d_prime"}:
        assert values[name] == expected[name], name


def test_figures_without_weights_are_those_of_verify() -> None:
    figures = Figures(check_pairs(*_pairs()), FARS)
    expected = verify(*_pairs(), fars=FARS).metrics
    values = dict(zip(figures.names, figures.values(), strict=True))
    shared = set(values) & set(expected)
    assert len(shared) == 9
    assert {name: values[name] for name in shared} == {name: expected[name] for name in shared}


def test_folds_that_a_draw_leaves_empty_do_not_enter_the_means() -> None:
    distances, same, fold = _pairs()
    kept = fold != 2
    figures = Figures(check_pairs(distances, same, fold), FARS)
    values = dict(zip(figures.names, figures.values(kept.astype(np.int64)), strict=True))
    renumbered = np.unique(fold[kept], return_inverse=True)[1]
    assert values["accuracy"] == verify(distances[kept], same[kept], renumbered).metrics["accuracy"]


def test_pairs_are_drawn_within_their_fold_and_kind() -> None:
    pairs = check_pairs(*_pairs())
    stratum = 2 * pairs.fold + pairs.same
    total = np.zeros(len(stratum))
    for weights in draws(pairs, identities=None, replicates=300, seed=1):
        np.testing.assert_array_equal(np.bincount(stratum, weights), np.bincount(stratum))
        total += weights
    # every pair is drawn once on average; the deviation of a mean of 300 is 0.06
    assert np.abs(total / 300 - 1).max() < 0.3


def test_people_are_drawn_with_all_their_pairs() -> None:
    people = np.array([[0, 0], [1, 1], [0, 1], [1, 2], [2, 2], [0, 2]])
    same = people[:, 0] == people[:, 1]
    pairs = check_pairs(np.linspace(0.1, 0.6, 6), same, [0, 1, 0, 1, 0, 1])
    seen = set()
    for weights in draws(pairs, identities=people, replicates=200, seed=1):
        drawn = weights[[0, 1, 4]]
        assert drawn.sum() == 3
        assert weights[[2, 3, 5]].tolist() == [drawn[0] * drawn[1], drawn[1] * drawn[2], drawn[0] * drawn[2]]
        seen.add(tuple(drawn.tolist()))
    assert len(seen) == 10  # all ways to draw three of three with replacement


def test_same_seed_same_draws() -> None:
    pairs = check_pairs(*_pairs())
    first, again, other = (
        np.array(list(draws(pairs, identities=None, replicates=3, seed=seed))) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_people_may_have_any_names() -> None:
    named = check_identities([["Ann", "Ann"], ["Ann", "Bob"], ["Cid", "Bob"]], np.array([True, False, False]))
    assert named is not None
    assert named.tolist() == [[0, 0], [0, 1], [2, 1]]


@pytest.mark.parametrize(
    ("identities", "message"),
    [
        ([[0, 0]], "identities must have shape (2, 2), the person of either side, but got (1, 2)"),
        ([[0, 1], [0, 1]], "pair 0 is of one person by `same`, but its identities are 0 and 1"),
        ([[0, 0], [1, 1]], "pair 1 is of two people by `same`, but its identities are 1 and 1"),
    ],
)
def test_people_that_contradict_the_pairs_are_refused(identities, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_identities(identities, np.array([True, False]))
