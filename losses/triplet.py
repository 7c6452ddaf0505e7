"""Triplet loss: an image is closer to its own identity than to any other, by a margin."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from losses.distances import normalize, squared_distances
from losses.loss import LOSSES, Loss, LossOutput
from losses.mining import MINERS, compare
from losses.monitors import pair_monitors
from losses.triplet_sum import sum_triplets
from losses.types import Positive

Mining = Literal[
    "all",
    "distance_weighted",
    "easy_positive",
    "given",
    "hard",
    "random",
    "semi_hard",
    "semi_hard_all",
    "violating",
]
Margin = Literal["hinge", "soft"]
Average = Literal["active", "all"]


@LOSSES.register
class Triplet(Loss):
    """An anchor's positive is closer than its negative by a margin, over triplets mined from the batch.

    hinge: L = 1/N sum max(0, d_ap - d_an + alpha)
    soft:  L = 1/N sum log(1 + exp(d_ap - d_an))        over N mined triplets of normalised embeddings

    Args:
        alpha: margin between the two distances, in their own units: 0.2 on squared distances (0 to 4). The
            soft margin has none; there it only bounds what semi_hard, semi_hard_all and violating look at.
        mining: which triplets; see `bench list miners`. given takes the rows as anchor, positive, negative,
            anchor, ...: for batches that were selected so (super_batch).
        margin: hinge or soft.
        squared: d is the squared Euclidean distance, or the plain one.
        average: N counts active triplets (those above zero), or all that were mined; facenet counts all.
            With the soft margin every triplet is above zero.

    Shape:
        embeddings: (B, D), any norm, normalised here; labels: (B,) int64, any numbers; total: in units of
        the distance (soft: nats). With no triplet to be had it is zero, with a zero gradient, and `empty`
        says so.

    Monitors: active_share, active triplets over those that the miner chose from (all valid triplets, anchors,
    or anchor-positive pairs), where the soft margin counts d_an < d_ap as active; empty; loss_to_collapse,
    the loss over alpha (soft: over ln 2); d_ap and d_an percentiles, squared Euclidean; embedding_std;
    effective_rank.

    Source: Schroff et al., FaceNet, CVPR 2015, arXiv:1503.03832v3; soft margin, hard and all: Hermans et al.,
        In Defense of the Triplet Loss, 2017, arXiv:1703.07737v4; violating and given:
        davidsandberg/facenet@096ed77 select_triplets and triplet_loss; distance_weighted: Wu et al., ICCV
        2017, arXiv:1706.07567v2; easy_positive: Xuan et al., WACV 2020, arXiv:1904.04370v2.
    Equation: FaceNet 3; Hermans 5 (hard), 6 (all).
    Differs from the paper: a mean instead of FaceNet's sum; violating takes each pair in both orders,
        facenet in one.
    Checked against: loops over all triplets in float64: test_triplet_value_and_gradient_equal_loops,
        test_soft_margin_value_and_gradient_equal_loops, test_given_triplets_are_facenets_triplet_loss;
        what each miner may choose:
        test_every_mined_triplet_obeys_its_rule, test_violating_draws_uniformly_among_violators,
        test_distance_weighted_draws_by_the_density_on_the_sphere.
    """

    def __init__(
        self,
        *,
        alpha: Positive = 0.2,
        mining: Mining = "semi_hard",
        margin: Margin = "hinge",
        squared: bool = True,
        average: Average = "active",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.miner = MINERS.get(mining)
        self.reads_given_triplets = mining == "given"
        self.soft = margin == "soft"
        self.squared = squared
        self.counts_active = average == "active" and not self.soft

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
        comparison = compare(
            distances if self.squared else distances.sqrt_(),
            labels,
            others,
            squared=self.squared,
            embedding_dim=anchors.shape[1],
            alpha=self.alpha,
        )
        with torch.no_grad():
            mined = self.miner(comparison)
        terms = sum_triplets(mined, comparison, anchors, references, soft=self.soft)
        count = terms.active if self.counts_active else terms.mined
        # Zero times the embeddings: nan among those that are in no triplet is not hidden.
        total = (terms.value / count.clamp_min(1)).to(anchors.dtype) + 0.0 * anchors.detach().sum()
        parts = {"triplet": total.detach()}
        if not self.monitoring:
            return LossOutput(total, parts)
        monitors = pair_monitors(
            comparison,
            anchors,
            active_share=terms.active / terms.candidates,  # 0/0 = nan: not defined
            empty=terms.mined == 0,
            loss_to_collapse=total / (math.log(2.0) if self.soft else self.alpha),
        )
        return LossOutput(total, parts, monitors)
