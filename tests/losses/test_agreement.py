"""Value and gradient against pytorch-metric-learning, where it defines the same loss."""

import functools
from typing import Any

import pytest
import torch

from losses import ArcFace, CosFace, InfoNce, Loss, SupCon, Triplet

peer = pytest.importorskip("pytorch_metric_learning", reason="needs pytorch-metric-learning to compare with")


def peer_triplet(kind: str, *, squared: bool, margin: float = 0.3) -> Any:
    from pytorch_metric_learning import distances, losses, miners, reducers

    distance = distances.LpDistance(power=2 if squared else 1)
    if kind == "hard":
        miner = miners.BatchHardMiner(distance=distance)
        reducer = reducers.MeanReducer()
    else:
        kinds = {"all": "all", "semi_hard_all": "semihard"}
        miner = miners.TripletMarginMiner(margin=margin, type_of_triplets=kinds[kind], distance=distance)
        reducer = reducers.AvgNonZeroReducer()
    loss = losses.TripletMarginLoss(margin=margin, distance=distance, reducer=reducer)
    return lambda embeddings, labels: loss(embeddings, labels, miner(embeddings, labels))


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("kind", ["hard", "all", "semi_hard_all"])
def test_triplets_agree(kind: str, squared: bool) -> None:
    average = "all" if kind == "hard" else "active"
    ours = Triplet(alpha=0.3, mining=kind, squared=squared, average=average)
    agree(ours, peer_triplet(kind, squared=squared))


def test_sup_con_agrees() -> None:
    from pytorch_metric_learning.losses import SupConLoss

    agree(SupCon(temperature=0.1), SupConLoss(temperature=0.1))


def test_info_nce_agrees() -> None:
    from pytorch_metric_learning.losses import NTXentLoss

    agree(InfoNce(temperature=0.1), NTXentLoss(temperature=0.1))


def test_multi_similarity_agrees_without_mining() -> None:
    from pytorch_metric_learning.losses import MultiSimilarityLoss

    from losses import MultiSimilarity

    agree(MultiSimilarity(alpha=2, beta=50, base=0.5, epsilon=3.0), MultiSimilarityLoss(2, 50, 0.5))


@pytest.mark.parametrize("name", ["arcface", "cosface"])
def test_margins_agree(name: str) -> None:
    """Its ArcFace takes degrees."""
    from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss

    ours = ArcFace(16, 8, margin=0.5) if name == "arcface" else CosFace(16, 8, margin=0.35)
    make = functools.partial(ArcFaceLoss, margin=28.64788976) if name == "arcface" else CosFaceLoss
    theirs = make(num_classes=8, embedding_size=16, scale=64).double()
    with torch.no_grad():
        theirs.W.copy_(ours.weight.T)
    agree(ours, theirs)


def agree(ours: Loss, theirs: Any) -> None:
    torch.manual_seed(0)
    labels = torch.arange(8).repeat_interleave(5)
    embeddings = torch.randn(40, 16, dtype=torch.float64) + 2 * torch.randn(8, 16).double()[labels]
    mine, other = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    total, expected = ours.double()(mine, labels).total, theirs(other, labels)
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        torch.autograd.grad(total, mine), torch.autograd.grad(expected, other), rtol=1e-5, atol=1e-8
    )
