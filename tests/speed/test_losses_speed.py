"""Losses: forward and backward to the embeddings, beside other implementations. Asserts no time.

Batches are P people x K images: 90 = 30 x 3, 512 = 64 x 8, 1800 = 45 x 40, 4096 = 512 x 8. Ours runs without
monitors, as the others have none; what monitors cost has a table of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from losses import CenterTerm, Triplet

from .conftest import Race

PEOPLE = {90: 30, 512: 64, 1800: 45, 4096: 512}
SIZES = [(num, dim) for num in PEOPLE for dim in (128, 512)]
PEER = "pytorch-metric-learning"
Step = Callable[[Tensor, Tensor], Tensor]


def batch(num: int, dim: int) -> tuple[Tensor, Tensor]:
    """Embeddings in which identities show but overlap: margins are active, none trivially."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(PEOPLE[num]).repeat_interleave(num // PEOPLE[num])
    centers = torch.randn(PEOPLE[num], dim, generator=generator)
    return centers[labels] + 1.5 * torch.randn(num, dim, generator=generator), labels


def ours(mining: str, *, monitoring: bool = False) -> Step:
    loss = Triplet(alpha=0.2, mining=mining, average="all" if mining == "hard" else "active")  # type: ignore[arg-type]
    loss.monitoring = monitoring
    return lambda embeddings, labels: loss(embeddings, labels).total


def metric_learning(mining: str) -> Step:
    """pytorch-metric-learning with the same definition."""
    from pytorch_metric_learning import distances, losses, miners, reducers

    distance = distances.LpDistance(power=2)
    miner: Any
    if mining == "hard":
        miner, reducer = miners.BatchHardMiner(distance=distance), reducers.MeanReducer()
    else:
        kind = {"all": "all", "semi_hard_all": "semihard"}[mining]
        miner = miners.TripletMarginMiner(margin=0.2, type_of_triplets=kind, distance=distance)
        reducer = reducers.AvgNonZeroReducer()
    loss = losses.TripletMarginLoss(margin=0.2, distance=distance, reducer=reducer)
    return lambda embeddings, labels: loss(embeddings, labels, miner(embeddings, labels))


def cube(mining: str) -> Step:
    """All B x B x B differences at once, as in the usual batch-all code; batch-hard by masks."""

    def step(embeddings: Tensor, labels: Tensor) -> Tensor:
        unit = normalize(embeddings)
        distances = (2.0 - 2.0 * unit @ unit.T).clamp_min(0.0)
        same = labels[:, None] == labels[None, :]
        positive = same & ~torch.eye(len(labels), dtype=torch.bool)
        if mining == "hard":
            farthest = (distances * positive).amax(1)
            closest = (distances + distances.detach().amax() * same).amin(1)
            return (farthest - closest + 0.2).clamp_min(0.0).mean()
        gaps = distances[:, :, None] - distances[:, None, :]
        valid = positive[:, :, None] & ~same[:, None, :]
        if mining == "semi_hard_all":
            valid &= (gaps < 0.0) & (gaps > -0.2)
        penalties = (gaps + 0.2).clamp_min(0.0) * valid
        return penalties.sum() / (penalties > 0.0).sum()

    return step


def backward(step: Step, num: int, dim: int) -> Callable[[], tuple[Tensor, Tensor]]:
    embeddings, labels = batch(num, dim)
    embeddings.requires_grad_()

    def once() -> tuple[Tensor, Tensor]:
        total = step(embeddings, labels)
        (gradient,) = torch.autograd.grad(total, embeddings)
        return total.detach(), gradient

    return once


def products(num: int, dim: int) -> Callable[[], Tensor]:
    """One product of B x D with D x B for the distances, two of B x B with B x D for the gradient."""
    unit = normalize(batch(num, dim)[0])

    def once() -> Tensor:
        distances = unit @ unit.T
        return distances @ unit + distances.T @ unit

    return once


def agree(mine: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> None:
    """The same definition, so nearly the same; triplets at the very margin may fall either way."""
    torch.testing.assert_close(mine[0], other[0], rtol=1e-4, atol=1e-6)
    assert (mine[1] - other[1]).norm() < 1e-3 * mine[1].norm()


@pytest.mark.parametrize(("num", "dim"), SIZES)
@pytest.mark.parametrize("mining", ["hard", "all", "semi_hard_all"])
def test_triplets(race: Race, mining: str, num: int, dim: int) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="needs pytorch-metric-learning to compare with")
    plain = "masks, B x B" if mining == "hard" else "masks, B x B x B"
    peers = {PEER: metric_learning(mining), plain: cube(mining)}
    left_out = {}
    if mining != "hard" and (num > 1800 or (num == 1800 and dim > 128)):
        left_out[PEER] = "it would list more than 100 million triplets (6 GB) once more"
    if mining != "hard" and num > 512:
        left_out[plain] = "each of its cubes would be 23 GB or more"
    race(
        "Triplets: forward and backward",
        f"{mining}, B = {num}, D = {dim}",
        ours=backward(ours(mining), num, dim),
        peers={name: backward(step, num, dim) for name, step in peers.items() if name not in left_out},
        limit=("three products", products(num, dim)),
        same=agree,
        left_out=left_out,
        large=num > 512 or (mining != "hard" and num > 90),
    )


@pytest.mark.parametrize(("num", "dim"), [(90, 128), (512, 128), (1800, 128), (4096, 128)])
@pytest.mark.parametrize("mining", ["semi_hard", "violating"])
def test_one_negative_a_pair(race: Race, mining: str, num: int, dim: int) -> None:
    """No peer has these definitions as losses; facenet's selection has a race below."""
    race(
        "Triplets with one negative a pair: forward and backward",
        f"{mining}, B = {num}, D = {dim}",
        ours=backward(ours(mining), num, dim),
        limit=("three products", products(num, dim)),
        large=num > 512,
    )


@pytest.mark.parametrize("images", [128, 256])
@pytest.mark.parametrize("mining", ["all", "semi_hard_all"])
def test_many_images_a_person(race: Race, mining: str, images: int) -> None:
    """The other end of the scale: 1024 images of few people."""
    embeddings, _ = batch(4096, 128)
    embeddings = embeddings[:1024].clone().requires_grad_()
    labels = torch.arange(1024) // images
    step = ours(mining)

    def once() -> Tensor:
        (gradient,) = torch.autograd.grad(step(embeddings, labels), embeddings)
        return gradient

    race(
        "Triplets of few people: forward and backward",
        f"{mining}, B = 1024 = {1024 // images} x {images}, D = 128",
        ours=once,
        large=True,
    )


@pytest.mark.parametrize("num", list(PEOPLE))
def test_monitors(race: Race, num: int) -> None:
    """What they add: the same loss without them is the peer."""
    race(
        "Monitors of a pair loss",
        f"semi_hard with all monitors, B = {num}, D = 128",
        ours=backward(ours("semi_hard", monitoring=True), num, 128),
        peers={"without monitors": backward(ours("semi_hard"), num, 128)},
        large=num > 512,
    )


@pytest.mark.parametrize("dim", [128, 512])
def test_facenet_selection(race: Race, dim: int) -> None:
    """Its select_triplets, selection alone: one pair after another, in numpy. Ours as super-batches do."""
    import numpy as np

    from losses.distances import squared_distances
    from losses.mining import compare, draw_violators

    embeddings, labels = batch(1800, dim)
    unit = normalize(embeddings)
    rows = unit.numpy()

    def theirs() -> int:
        found = 0
        for person in range(45):
            first = person * 40
            for anchor in range(first, first + 39):
                negatives = np.square(rows[anchor] - rows).sum(1)
                negatives[first : first + 40] = np.nan
                for positive in range(anchor + 1, first + 40):
                    limit = np.square(rows[anchor] - rows[positive]).sum()
                    candidates = np.where(negatives - limit < 0.2)[0]
                    if len(candidates):
                        candidates[np.random.randint(len(candidates))]
                        found += 1
        return found

    def mine() -> int:
        distances = squared_distances(unit, unit)
        comparison = compare(distances, labels, labels, squared=True, embedding_dim=dim, alpha=0.2)
        return len(draw_violators(comparison, comparison.is_later).anchor)

    def equal(mine: int, other: int) -> None:
        assert abs(mine - other) <= 1e-3 * other  # distances round differently at the very margin

    race(
        "facenet's selection of triplets",
        f"45 people x 40 images, D = {dim}",
        ours=mine,
        peers={"facenet's loop": theirs},
        limit=("the distances", lambda: unit @ unit.T),
        same=equal,
        large=dim > 128,
    )


@pytest.mark.parametrize(("classes", "dim"), [(10_000, 128), (10_000, 512), (100_000, 128), (100_000, 512)])
def test_center(race: Race, classes: int, dim: int) -> None:
    """The usual code takes distances to all centers (B x C), masks all but one, and learns them."""
    term = CenterTerm(dim, classes)
    term.monitoring = False
    embeddings = torch.randn(256, dim, requires_grad=True)
    labels = torch.randint(0, classes, (256,))
    learned = torch.zeros(classes, dim, requires_grad=True)
    optimizer = torch.optim.SGD([learned], lr=0.5)

    def mine() -> Tensor:
        (gradient,) = torch.autograd.grad(term(embeddings, labels).total, embeddings)
        return gradient

    def masked() -> Tensor:
        distances = embeddings.square().sum(1, keepdim=True) + learned.square().sum(1)
        distances = distances.addmm(embeddings, learned.T, alpha=-2.0)
        mask = labels[:, None] == torch.arange(classes)
        total = (distances * mask).clamp(1e-12, 1e12).sum() / 256
        gradient, learned.grad = torch.autograd.grad(total, (embeddings, learned))
        optimizer.step()
        return gradient

    def gathered() -> Tensor:
        return term.centers[labels] - embeddings.detach()

    def equal(mine: Tensor, other: Tensor) -> None:
        torch.testing.assert_close(
            mine * dim, other, rtol=1e-3, atol=1e-6
        )  # a mean over dimensions, and a sum

    race(
        "Center term: forward, backward and update",
        f"B = 256, C = {classes:,}, D = {dim}",
        ours=mine,
        peers={"distances to all centers": masked},
        limit=("reading the rows", gathered),
        same=equal,
        large=classes > 10_000 or dim > 128,
    )
