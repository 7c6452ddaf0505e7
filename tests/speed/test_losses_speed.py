"""How long forward and backward take, to the embeddings, beside other implementations. Asserts no time.

    tox -e speed -- tests/speed/test_losses_speed.py

Batches are P people x K images: 90 = 30 x 3, 512 = 64 x 8, 1800 = 45 x 40, 4096 = 512 x 8. Ours is timed
without monitors, as the others have none, and once with them.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from losses import CenterTerm, Triplet

PEOPLE = {90: 30, 512: 64, 1800: 45, 4096: 512}
SIZES = [(90, 128), (512, 128), (512, 512), (1800, 128), (4096, 128), (4096, 512)]
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
    pytest.importorskip("pytorch_metric_learning", reason="needs pytorch-metric-learning to compare with")
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
    """All B x B x B differences at once, as in the usual batch-all code."""

    def step(embeddings: Tensor, labels: Tensor) -> Tensor:
        unit = torch.nn.functional.normalize(embeddings)
        distances = (2.0 - 2.0 * unit @ unit.T).clamp_min(0.0)
        same = labels[:, None] == labels[None, :]
        positive = same & ~torch.eye(len(labels), dtype=torch.bool)
        gaps = distances[:, :, None] - distances[:, None, :]
        valid = positive[:, :, None] & ~same[:, None, :]
        if mining == "semi_hard_all":
            valid &= (gaps < 0.0) & (gaps > -0.2)
        penalties = (gaps + 0.2).clamp_min(0.0) * valid
        return penalties.sum() / (penalties > 0.0).sum()

    return step


def run(benchmark: Any, step: Step, num: int, dim: int, group: str) -> Tensor:
    embeddings, labels = batch(num, dim)
    embeddings.requires_grad_()

    def once() -> Tensor:
        (gradient,) = torch.autograd.grad(step(embeddings, labels), embeddings)
        return gradient

    benchmark.group = f"{group}, B={num}, D={dim}"
    benchmark.extra_info["threads"] = torch.get_num_threads()
    gradient: Tensor = benchmark.pedantic(once, rounds=31 if num == 90 else 3, warmup_rounds=1)
    return gradient


def agrees(step: Step, num: int, dim: int, gradient: Tensor) -> None:
    """The same definition, so nearly the same gradient; triplets at the very margin may fall either way."""
    embeddings, labels = batch(num, dim)
    embeddings.requires_grad_()
    (expected,) = torch.autograd.grad(step(embeddings, labels), embeddings)
    assert (gradient - expected).norm() < 1e-3 * expected.norm()


@pytest.mark.parametrize(("num", "dim"), SIZES)
@pytest.mark.parametrize("mining", ["hard", "all", "semi_hard_all", "semi_hard", "violating"])
def test_ours(benchmark: Any, mining: str, num: int, dim: int) -> None:
    assert run(benchmark, ours(mining), num, dim, mining).isfinite().all()


@pytest.mark.parametrize(("num", "dim"), [(90, 128), (512, 128), (4096, 128)])
@pytest.mark.parametrize("mining", ["hard", "semi_hard"])
def test_ours_with_monitors(benchmark: Any, mining: str, num: int, dim: int) -> None:
    assert run(benchmark, ours(mining, monitoring=True), num, dim, mining).isfinite().all()


@pytest.mark.parametrize(("num", "dim"), SIZES)
@pytest.mark.parametrize("mining", ["hard", "all", "semi_hard_all"])
def test_pytorch_metric_learning(benchmark: Any, mining: str, num: int, dim: int) -> None:
    if mining != "hard" and num > 512:
        pytest.skip("it lists every triplet: 1800 images take 6 GB and 7 s")
    gradient = run(benchmark, metric_learning(mining), num, dim, mining)
    agrees(ours(mining), num, dim, gradient)


@pytest.mark.parametrize(("num", "dim"), [(90, 128), (512, 128)])
@pytest.mark.parametrize("mining", ["all", "semi_hard_all"])
def test_cube_of_differences(benchmark: Any, mining: str, num: int, dim: int) -> None:
    gradient = run(benchmark, cube(mining), num, dim, mining)
    agrees(ours(mining), num, dim, gradient)


@pytest.mark.parametrize("dim", [128, 512])
def test_facenet_selection_loop(benchmark: Any, dim: int) -> None:
    """Its select_triplets, selection alone: one pair after another, in numpy."""
    import numpy as np

    embeddings, _ = batch(1800, dim)
    unit = torch.nn.functional.normalize(embeddings).numpy()

    def select() -> int:
        found = 0
        for person in range(45):
            first = person * 40
            for anchor in range(first, first + 39):
                negatives = np.square(unit[anchor] - unit).sum(1)
                negatives[first : first + 40] = np.nan
                for positive in range(anchor + 1, first + 40):
                    limit = np.square(unit[anchor] - unit[positive]).sum()
                    candidates = np.where(negatives - limit < 0.2)[0]
                    if len(candidates):
                        candidates[np.random.randint(len(candidates))]
                        found += 1
        return found

    benchmark.group = f"violating, B=1800, D={dim}"
    assert benchmark.pedantic(select, rounds=3) > 0


@pytest.mark.parametrize(("classes", "dim"), [(10_000, 128), (10_000, 512), (100_000, 128)])
def test_center_term(benchmark: Any, classes: int, dim: int) -> None:
    term = CenterTerm(dim, classes)
    term.monitoring = False
    embeddings = torch.randn(256, dim, requires_grad=True)
    labels = torch.randint(0, classes, (256,))
    benchmark.group = f"center, C={classes}, D={dim}"
    benchmark(lambda: torch.autograd.grad(term(embeddings, labels).total, embeddings))


@pytest.mark.parametrize(("classes", "dim"), [(10_000, 128), (10_000, 512), (100_000, 128)])
def test_center_by_all_distances(benchmark: Any, classes: int, dim: int) -> None:
    """The usual code: distances to every center (B x C), all but one masked; its centers are learned."""
    centers = torch.randn(classes, dim, requires_grad=True)
    embeddings = torch.randn(256, dim, requires_grad=True)
    labels = torch.randint(0, classes, (256,))

    def once() -> Any:
        distances = embeddings.square().sum(1, keepdim=True) + centers.square().sum(1)
        distances = distances.addmm(embeddings, centers.T, alpha=-2.0)
        mask = labels[:, None] == torch.arange(classes)
        total = (distances * mask).clamp(1e-12, 1e12).sum() / 256
        return torch.autograd.grad(total, (embeddings, centers))

    benchmark.group = f"center, C={classes}, D={dim}"
    benchmark.pedantic(once, rounds=5, warmup_rounds=1)
