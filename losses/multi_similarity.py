"""Multi-similarity loss: pairs weighed by how they compare with the anchor's other pairs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.distances import normalize, squared_distances
from losses.loss import LOSSES, Loss, LossOutput
from losses.mining import compare
from losses.monitors import pair_monitors
from losses.types import Fraction, NonNegative, Positive


@LOSSES.register
class MultiSimilarity(Loss):
    """Soft maxima over an anchor's positives and negatives, of those pairs that matter for its order.

    L = 1/B sum_i [ 1/alpha log(1 + sum_{k in P_i} exp(-alpha (S_ik - lambda)))
                  + 1/beta  log(1 + sum_{k in N_i} exp(  beta (S_ik - lambda))) ]        S: cosine
    P_i: positives with S < max over negatives + epsilon; N_i: negatives with S > min over positives - epsilon

    Args:
        alpha: steepness over positives.
        beta: steepness over negatives.
        base: lambda, the cosine around which pairs count.
        epsilon: of the mining above.

    Shape:
        embeddings: (B, D), any norm, normalised here; labels: (B,) int64, any numbers; total: dimensionless.
        Where nothing is mined it is zero, with a zero gradient, and `empty` says so.

    Monitors: active_share, anchors with mined pairs over anchors that have positives and negatives; those of
    `Triplet`.

    Source: Wang et al., Multi-Similarity Loss, CVPR 2019, arXiv:1904.06627v3.
    Equation: 15; mining 11 and 12.
    Differs from the paper: beta 40 and lambda 0.5, the defaults of the authors' code (50 and 1 in the paper);
        as there, an anchor whose P_i or N_i is empty counts zero.
    Checked against: loops over anchors in float64: test_multi_similarity_value_equals_loops; gradient by
        finite differences (contract).
    """

    def __init__(
        self,
        *,
        alpha: Positive = 2.0,
        beta: Positive = 40.0,
        base: Fraction = 0.5,
        epsilon: NonNegative = 0.1,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.base = base
        self.epsilon = epsilon

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        unit = normalize(embeddings)
        return self.against(unit, labels, unit, labels)

    def against(self, anchors: Tensor, labels: Tensor, references: Tensor, others: Tensor) -> LossOutput:
        """The loss of pairs of an anchor and a reference; arguments as in `Triplet.against`."""
        similarity = F.linear(anchors, references)
        distances = squared_distances(anchors, references)
        comparison = compare(distances, labels, others, squared=True, embedding_dim=anchors.shape[1])
        is_positive, is_negative = comparison.positive_mask(), comparison.negative_mask()
        with torch.no_grad():
            closest = similarity.masked_fill(~is_negative, -torch.inf).amax(1, keepdim=True)
            farthest = similarity.masked_fill(~is_positive, torch.inf).amin(1, keepdim=True)
            chosen_positive = is_positive & (similarity < closest + self.epsilon)
            chosen_negative = is_negative & (similarity > farthest - self.epsilon)
            counts = chosen_positive.any(1) & chosen_negative.any(1)
        pull = _soft_maximum(self.alpha * (self.base - similarity), chosen_positive) / self.alpha
        push = _soft_maximum(self.beta * (similarity - self.base), chosen_negative) / self.beta
        total = ((pull + push) * counts).mean() + 0.0 * anchors.sum()
        parts = {"multi_similarity": total.detach()}
        if not self.monitoring:
            return LossOutput(total, parts)
        complete = is_positive.any(1) & is_negative.any(1)
        monitors = pair_monitors(
            comparison,
            anchors,
            active_share=counts.sum() / complete.sum(),
            empty=~counts.any(),
            loss_to_collapse=total / self._collapsed(is_positive.sum(1), is_negative.sum(1), complete),
        )
        return LossOutput(total, parts, monitors)

    def _collapsed(self, positives: Tensor, negatives: Tensor, complete: Tensor) -> Tensor:
        """The loss when every cosine is 1."""
        shift = 1.0 - self.base
        pull = torch.log1p(positives * math.exp(-self.alpha * shift)) / self.alpha
        push = torch.log1p(negatives * math.exp(self.beta * shift)) / self.beta
        return ((pull + push) * complete).mean()


def _soft_maximum(exponents: Tensor, chosen: Tensor) -> Tensor:
    """(B, R) -> (B,) log(1 + sum of exp over the chosen), 0 with a zero gradient where none is."""
    one = exponents.new_zeros(len(exponents), 1)
    return torch.cat([one, exponents.masked_fill(~chosen, -torch.inf)], dim=1).logsumexp(1)
