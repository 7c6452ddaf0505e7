"""What each miner may choose, and with which probability."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from losses import MINERS, mining
from losses.distances import squared_distances
from losses.mining import Band, Comparison, Triplets, compare
from losses.triplet import Mining


def batch(num: int = 24, num_identities: int = 5, dim: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(num, dim, generator=generator, dtype=torch.float64))
    return unit, torch.randint(0, num_identities, (num,), generator=generator)


def comparison(unit: Tensor, labels: Tensor, alpha: float = 0.3, memory: int = 0) -> Comparison:
    """Anchors are all but the last `memory` images."""
    anchors = len(labels) - memory
    distances = squared_distances(unit[:anchors], unit)
    return compare(
        distances, labels[:anchors], labels, squared=True, embedding_dim=unit.shape[1], alpha=alpha
    )


def test_option_and_registry_name_the_same_miners() -> None:
    assert list(get_args(Mining)) == MINERS.names()
    assert all(MINERS.summary(name) for name in MINERS.names())


@pytest.mark.parametrize("memory", [0, 7])
def test_masks_equal_labels(memory: int) -> None:
    unit, labels = batch()
    found = comparison(unit, labels, memory=memory)
    anchors = labels[: len(labels) - memory]
    same = anchors[:, None] == labels[None, :]
    itself = torch.eye(len(anchors), len(labels), dtype=torch.bool)
    assert torch.equal(found.positive_mask(), same & ~itself)
    assert torch.equal(found.negative_mask(), ~same)
    assert int(found.is_positive.sum()) == int((same & ~itself).sum())


@pytest.mark.parametrize("memory", [0, 7])
@pytest.mark.parametrize("name", MINERS.names())
def test_every_mined_triplet_obeys_its_rule(name: str, memory: int) -> None:
    unit, labels = batch()
    alpha = 0.3
    found = comparison(unit, labels, alpha, memory)
    torch.manual_seed(0)
    mined = MINERS.get(name)(found)
    if isinstance(mined, Band):
        assert (mined.above, mined.below) == {"all": (-math.inf, math.inf), "semi_hard_all": (0.0, alpha)}[
            name
        ]
        return
    d = found.distances
    anchors = range(len(d))
    chosen = list(zip(mined.anchor.tolist(), mined.positive.tolist(), mined.negative.tolist(), strict=True))
    assert chosen
    for a, p, n in chosen:
        assert labels[a] == labels[p] and a != p and labels[a] != labels[n]
    positives = {a: [p for p in range(len(labels)) if labels[p] == labels[a] and p != a] for a in anchors}
    negatives = {a: [n for n in range(len(labels)) if labels[n] != labels[a]] for a in anchors}
    pairs = [(a, p) for a in anchors for p in positives[a]]

    def beyond(a: int, p: int, limit: float = math.inf) -> list[int]:
        return [n for n in negatives[a] if d[a, p] < d[a, n] < limit]

    if name == "hard":
        expected = {
            a: (
                max(positives[a], key=lambda p: d[a, p].item()),
                min(negatives[a], key=lambda n: d[a, n].item()),
            )
            for a in anchors
            if positives[a]
        }
        assert {a: (p, n) for a, p, n in chosen} == expected
        assert mined.candidates == len(expected)
    elif name == "easy_positive":
        closest = {a: min(positives[a], key=lambda p: d[a, p].item()) for a in anchors if positives[a]}
        expected = {
            a: (p, min(beyond(a, p), key=lambda n: d[a, n].item()))
            for a, p in closest.items()
            if beyond(a, p)
        }
        assert {a: (p, n) for a, p, n in chosen} == expected
        assert mined.candidates == len(closest)
    elif name == "given":
        rows = [(a, a + 1, a + 2) for a in range(0, len(d) - 2, 3)]
        assert chosen == [(a, p, n) for a, p, n in rows if labels[a] == labels[p] and labels[a] != labels[n]]
        assert mined.candidates == len(rows)
    else:
        assert mined.candidates == len(pairs)
        found_pairs = [(a, p) for a, p, _ in chosen]
        assert len(set(found_pairs)) == len(found_pairs)
    if name == "semi_hard":
        bands = {(a, p): beyond(a, p, (d[a, p] + alpha).item()) for a, p in pairs}
        nearest = {
            pair: min(band, key=lambda n: d[pair[0], n].item()) for pair, band in bands.items() if band
        }
        assert {(a, p): n for a, p, n in chosen} == nearest
    elif name == "violating":
        assert all(d[a, n] < d[a, p] + alpha for a, p, n in chosen)
        assert set(found_pairs) == {
            (a, p) for a, p in pairs if any(d[a, n] < d[a, p] + alpha for n in negatives[a])
        }
    elif name in ("random", "distance_weighted"):
        assert set(found_pairs) == set(pairs)


def draws(name: str, found: Comparison, anchor: int, positive: int, times: int) -> Tensor:
    """Share of each column as the negative of one pair."""
    torch.manual_seed(0)
    counts = torch.zeros(found.distances.shape[1])
    for _ in range(times):
        mined = MINERS.get(name)(found)
        assert isinstance(mined, Triplets)
        here = (mined.anchor == anchor) & (mined.positive == positive)
        counts[mined.negative[here]] += 1
    return counts / times


def test_violating_draws_uniformly_among_violators() -> None:
    unit, labels = batch()
    found = comparison(unit, labels)
    positive = int((labels == labels[0]).nonzero()[1])
    violators = (labels != labels[0]) & (found.distances[0] < found.distances[0, positive] + 0.3)
    share = draws("violating", found, 0, positive, 3000)
    count = int(violators.sum())
    assert count > 2
    torch.testing.assert_close(share, violators / count, atol=4 * math.sqrt(1 / count / 3000), rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_violating_chooses_alike_in_one_block_or_many(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    unit, labels = batch()
    found = comparison(unit.to(dtype), labels, memory=7)
    chosen = []
    for entries in (mining._SORTED, 60, 1):
        monkeypatch.setattr(mining, "_SORTED", entries)
        torch.manual_seed(0)
        mined = mining.draw_violators(found, found.is_positive)
        chosen.append(torch.stack([mined.anchor, mined.positive, mined.negative]))
    assert torch.equal(chosen[0], chosen[1]) and torch.equal(chosen[0], chosen[2])


def test_violators_of_pairs_in_one_order_are_those_of_both() -> None:
    """The same share of the same violators, whatever other pairs want one."""
    unit, labels = batch()
    found = comparison(unit, labels)
    torch.manual_seed(0)
    both = mining.draw_violators(found, found.is_positive)
    torch.manual_seed(0)
    later = mining.draw_violators(found, found.is_later)
    is_later = both.anchor < both.positive
    assert 0 < len(later.anchor) == int(is_later.sum()) < len(both.anchor)
    for name in ("anchor", "positive", "negative"):
        assert torch.equal(getattr(later, name), getattr(both, name)[is_later])
    assert 2 * later.candidates == both.candidates


def test_negatives_at_the_limit_do_not_violate() -> None:
    distances = torch.tensor([[0.0, 0.0, 0.25, 0.2499], [0.0, 0.0, 0.25, 0.5]])
    found = compare(
        distances, torch.tensor([0, 0]), torch.tensor([0, 0, 1, 2]), squared=True, embedding_dim=2, alpha=0.25
    )
    mined = mining.draw_violators(found, found.is_positive)
    assert (mined.anchor.tolist(), mined.positive.tolist(), mined.negative.tolist()) == ([0], [1], [3])
    assert mined.candidates == 2


def test_random_draws_uniformly_among_all_negatives() -> None:
    unit, labels = batch()
    found = comparison(unit, labels)
    positive = int((labels == labels[0]).nonzero()[1])
    negatives = labels != labels[0]
    count = int(negatives.sum())
    share = draws("random", found, 0, positive, 3000)
    torch.testing.assert_close(share, negatives / count, atol=4 * math.sqrt(1 / count / 3000), rtol=0)


def test_distance_weighted_draws_by_the_density_on_the_sphere() -> None:
    """Probability ~ 1 / q(d), q(d) = d^(n-2) (1 - d^2/4)^((n-3)/2), d cut at 0.5, none from 1.4 on."""
    unit, labels = batch(dim=4)
    found = comparison(unit, labels)
    positive = int((labels == labels[0]).nonzero()[1])
    weights = []
    for label, square in zip(labels.tolist(), found.distances[0].tolist(), strict=True):
        d = max(math.sqrt(square), 0.5)
        q = d**2 * math.sqrt(1 - d * d / 4)
        weights.append(1 / q if label != labels[0] and d < 1.4 else 0.0)
    expected = torch.tensor(weights) / sum(weights)
    share = draws("distance_weighted", found, 0, positive, 3000)
    torch.testing.assert_close(share, expected, atol=4 * math.sqrt(0.25 / 3000), rtol=0)
    assert (share[expected == 0] == 0).all()


def test_distance_weighted_far_from_everybody_draws_any_negative() -> None:
    unit = torch.tensor([[1.0, 0.0], [0.99, 0.14], [-1.0, 0.0], [-0.99, 0.14]])
    found = comparison(torch.nn.functional.normalize(unit), torch.tensor([0, 0, 1, 2]))
    share = draws("distance_weighted", found, 0, 1, 400)
    assert share[:2].sum() == 0 and share[2:].min() > 0.4


@pytest.mark.parametrize("name", ["violating", "random", "distance_weighted"])
def test_random_choices_follow_the_global_generator(name: str) -> None:
    unit, labels = batch()
    found = comparison(unit, labels)
    negatives = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        mined = MINERS.get(name)(found)
        assert isinstance(mined, Triplets)
        negatives.append(mined.negative)
    assert torch.equal(negatives[0], negatives[1]) and not torch.equal(negatives[1], negatives[2])


def test_sorting_and_comparing_find_the_same_next_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mining, "BLOCK", 200)  # several blocks of rows
    generator = torch.Generator().manual_seed(0)
    negatives = torch.rand(40, 50, generator=generator)
    negatives[torch.rand(40, 50, generator=generator) < 0.2] = math.inf
    limits = torch.rand(40, 6, generator=generator) * 1.2
    limits[:, 0] = negatives[:, 3]  # not beyond itself
    limits[:, 1] = math.inf  # of a filler
    sorted_, compared = (
        mining._next_by_sorting(negatives, limits),
        mining._next_by_comparison(negatives, limits),
    )
    assert torch.equal(sorted_[0], compared[0]) and (compared[0] > limits)[:, 2:].all()
    is_there = compared[0] < math.inf
    assert is_there.any() and not is_there.all()
    assert torch.equal(sorted_[1][is_there], compared[1][is_there])
