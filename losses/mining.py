"""Miners: which triplets of a batch a loss looks at.

A miner sees all distances from B anchors to R references and names triplets. Miners whose triplets are few
name them one by one; the two that take every triplet of a kind name the kind, because B = 1800 images of 45
people already hold 123 million triplets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from losses.registry import Registry


@dataclass(frozen=True, slots=True)
class Comparison:
    """All anchors against all references.

    Args:
        distances: (B, R). Reference j < B is anchor j itself; the others, if any, are of earlier batches.
        same_identity: (B, K) columns of every reference of the anchor's identity, itself among them; shorter
            lists are filled up with repetitions.
        is_positive: (B, K), False where `same_identity` holds a repetition or the anchor itself.
        alpha: margin of the loss, in units of the distances.
        squared: whether the distances are squared.
        embedding_dim: D.
    """

    distances: Tensor
    same_identity: Tensor
    is_positive: Tensor
    alpha: float
    squared: bool
    embedding_dim: int

    def positive_distances(self, fill: float) -> Tensor:
        """(B, K), `fill` where `is_positive` is False."""
        found = self.distances.gather(1, self.same_identity)
        return found.masked_fill(~self.is_positive, fill)

    def negative_distances(self, fill: float) -> Tensor:
        """(B, R), `fill` at the anchor's own identity."""
        return self.distances.scatter(1, self.same_identity, fill)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Every anchor-positive pair, both orders: rows and columns."""
        anchors, places = self.is_positive.nonzero(as_tuple=True)
        return anchors, self.same_identity[anchors, places]


@dataclass(frozen=True, slots=True)
class Triplets:
    """Named one by one.

    Args:
        anchor: (N,) rows of the comparison.
        positive: (N,) columns.
        negative: (N,) columns.
        candidates: how many the miner chose from: anchors, or anchor-positive pairs.
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor
    candidates: int


@dataclass(frozen=True, slots=True)
class Band:
    """Every triplet with `above < d_an - d_ap < below`."""

    above: float = -math.inf
    below: float = math.inf


Miner = Callable[[Comparison], Triplets | Band]
MINERS: Registry[Triplets | Band] = Registry("mining")


def compare(
    distances: Tensor,
    labels: Tensor,
    reference_labels: Tensor,
    *,
    alpha: float,
    squared: bool,
    embedding_dim: int,
) -> Comparison:
    """Find out who is whose positive.

    Args:
        distances: (B, R).
        labels: (B,) of the anchors.
        reference_labels: (R,); the first B are `labels`.
        alpha: see `Comparison`.
        squared: see `Comparison`.
        embedding_dim: see `Comparison`.
    """
    ordered, order = reference_labels.sort(stable=True)
    start = torch.searchsorted(ordered, labels)
    count = torch.searchsorted(ordered, labels, right=True) - start
    place = torch.arange(int(count.max()), device=labels.device)
    same_identity = order[start.unsqueeze(1) + torch.minimum(place, count.unsqueeze(1) - 1)]
    itself = torch.arange(len(labels), device=labels.device).unsqueeze(1)
    is_positive = (place < count.unsqueeze(1)) & (same_identity != itself)
    return Comparison(distances, same_identity, is_positive, alpha, squared, embedding_dim)


@MINERS.named("all")
def all_triplets(_: Comparison) -> Band:
    """Every triplet (batch-all)."""
    return Band()


@MINERS.register
def semi_hard_all(comparison: Comparison) -> Band:
    """Every triplet with d_ap < d_an < d_ap + alpha (pytorch-metric-learning's semihard)."""
    return Band(above=0.0, below=comparison.alpha)


@MINERS.register
def hard(comparison: Comparison) -> Triplets:
    """For each anchor its farthest positive and its closest negative (batch-hard)."""
    farthest, positive = comparison.positive_distances(-math.inf).max(1)
    closest, negative = comparison.negative_distances(math.inf).min(1)
    anchor = ((farthest > -math.inf) & (closest < math.inf)).nonzero().squeeze(1)
    positive = comparison.same_identity[anchor, positive[anchor]]
    return Triplets(anchor, positive, negative[anchor], len(anchor))


@MINERS.register
def semi_hard(comparison: Comparison) -> Triplets:
    """For each anchor-positive the closest negative with d_ap < d_an < d_ap + alpha, if any (FaceNet)."""
    distances, order = comparison.negative_distances(math.inf).sort(1)
    positives = comparison.positive_distances(math.inf)
    next_farther = torch.searchsorted(distances, positives, right=True).clamp_max_(distances.shape[1] - 1)
    found = distances.gather(1, next_farther)
    # strict on both sides: searchsorted's clamp may have come to rest on a distance that is not larger
    in_band = (found > positives) & (found < positives + comparison.alpha)
    anchor, place = (in_band & comparison.is_positive).nonzero(as_tuple=True)
    negative = order[anchor, next_farther[anchor, place]]
    candidates = int(comparison.is_positive.sum())
    return Triplets(anchor, comparison.same_identity[anchor, place], negative, candidates)
