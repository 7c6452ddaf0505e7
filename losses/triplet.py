"""Triplet loss: an image is closer to its own identity than to any other, by a margin."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from losses.distances import normalize, squared_distances
from losses.loss import LOSSES, Loss, LossOutput
from losses.mining import MINERS, Comparison, compare
from losses.monitors import distance_percentiles, spread
from losses.triplet_sum import TripletSum, sum_triplets
from losses.types import Positive

Mining = Literal["all", "hard", "semi_hard", "semi_hard_all"]
Average = Literal["active", "all"]


@LOSSES.register
class Triplet(Loss):
    """Hinge on d(anchor, positive) - d(anchor, negative) over triplets mined from the batch.

    L = 1/N sum max(0, d_ap - d_an + alpha)        over N mined triplets of normalised embeddings

    Args:
        alpha: margin between the two distances, in their own units: 0.2 on squared distances (0 to 4).
        mining: which triplets, `bench list miners`.
        squared: d is the squared Euclidean distance, or the plain one.
        average: N counts active triplets (those above zero), or all that were mined. facenet: all.

    Shape:
        embeddings: (B, D), any norm, normalised here; labels: (B,) int64, any numbers; total: in units of
        the distance. With no triplet to be had it is zero, with a zero gradient, and `empty` says so.

    Monitors: active_share, active triplets over those that the miner chose from (all valid triplets, anchors,
    or anchor-positive pairs); d_ap and d_an percentiles, squared Euclidean; embedding_std; effective_rank;
    empty, 1 when no triplet was mined.

    Source: Schroff et al., FaceNet, CVPR 2015, arXiv:1503.03832v3; hard: Hermans et al., In Defense of the
        Triplet Loss, arXiv:1703.07737v4.
    Equation: 3 (FaceNet); 5 (batch-hard), 6 (batch-all) of Hermans.
    Differs from the paper: a mean instead of FaceNet's sum.
    Checked against: loops over all triplets in float64, for every mining:
        test_triplet_value_and_gradient_equal_loops.
    """

    def __init__(
        self,
        *,
        alpha: Positive = 0.2,
        mining: Mining = "semi_hard",
        squared: bool = True,
        average: Average = "active",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.mining = mining
        self.squared = squared
        self.average = average
        self.miner = MINERS.get(mining)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        unit = normalize(embeddings)
        return self.against(unit, labels, unit, labels)

    def against(self, anchors: Tensor, labels: Tensor, references: Tensor, others: Tensor) -> LossOutput:
        """The loss of triplets whose positives and negatives are references.

        Args:
            anchors: (B, D), normalised.
            labels: (B,).
            references: (R, D), normalised; the first B are the anchors.
            others: (R,), labels of the references.
        """
        distances = squared_distances(anchors, references)
        distances = distances if self.squared else distances.sqrt_()
        comparison = compare(
            distances,
            labels,
            others,
            alpha=self.alpha,
            squared=self.squared,
            embedding_dim=anchors.shape[1],
        )
        with torch.no_grad():
            mined = self.miner(comparison)
        terms = sum_triplets(mined, comparison, anchors, references)
        count = terms.active if self.average == "active" else terms.mined
        # Zero times the embeddings: with nothing mined there is still a graph, and nan is never hidden.
        total = (terms.value / count.clamp_min(1)).to(anchors.dtype) + 0.0 * anchors.sum()
        monitors = _monitors(terms, comparison, anchors.detach()) if self.monitoring else {}
        return LossOutput(total, {"triplet": total.detach()}, monitors)


def _monitors(terms: TripletSum, comparison: Comparison, unit: Tensor) -> dict[str, Tensor]:
    return {
        "active_share": terms.active / terms.candidates,  # 0/0 = nan: not defined
        "empty": (terms.mined == 0).to(unit.dtype),
        **distance_percentiles(comparison),
        **spread(unit),
    }
