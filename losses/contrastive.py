"""Contrastive loss: genuine pairs at distance zero, impostor pairs beyond a margin."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from losses.distances import accumulator, normalize, squared_distances, with_gradient
from losses.loss import LOSSES, Loss, LossOutput
from losses.mining import compare
from losses.monitors import pair_monitors
from losses.types import Positive


@LOSSES.register
class Contrastive(Loss):
    """Pull genuine pairs together, push impostor pairs to a distance.

    L = 1/(2P) sum_genuine d^2 + 1/(2N) sum_impostor max(0, m - d)^2        d between normalised embeddings

    Args:
        margin: m, in units of the plain distance (0 to 2).
        average: N counts the active impostor pairs (those closer than m), or all. P counts all genuine pairs.

    Shape:
        embeddings: (B, D), any norm, normalised here; labels: (B,) int64, any numbers; total: in units of
        the squared distance. Without any pair it is zero, with a zero gradient, and `empty` says so.

    Monitors: active_share, impostor pairs closer than m; those of `Triplet`. At collapse the loss is m^2 / 2.

    Source: Hadsell et al., Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006.
    Equation: 4.
    Differs from the paper: each side is averaged of its own, for impostors outnumber genuine pairs; the paper
        sums.
    Checked against: loops over all pairs in float64: test_contrastive_value_and_gradient_equal_loops.
    """

    def __init__(self, *, margin: Positive = 1.0, average: Literal["active", "all"] = "active") -> None:
        super().__init__()
        self.margin = margin
        self.counts_active = average == "active"

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        unit = normalize(embeddings)
        return self.against(unit, labels, unit, labels)

    def against(self, anchors: Tensor, labels: Tensor, references: Tensor, others: Tensor) -> LossOutput:
        """The loss of pairs of an anchor and a reference; arguments as in `Triplet.against`."""
        distances = squared_distances(anchors, references).sqrt_()
        comparison = compare(distances, labels, others, squared=False, embedding_dim=anchors.shape[1])
        genuine, impostor = comparison.positive_mask(), comparison.negative_mask()
        short = (self.margin - distances).clamp_min(0.0) * impostor
        num_genuine, num_impostor = genuine.sum(), impostor.sum()
        num_active = short.count_nonzero()
        per_genuine = genuine / num_genuine.clamp_min(1)
        per_impostor = 1.0 / (num_active if self.counts_active else num_impostor).clamp_min(1)
        wide = accumulator(distances.device)
        value = (distances.square() * per_genuine).sum(dtype=wide) / 2
        value = value + short.square().sum(dtype=wide) * per_impostor / 2
        slopes = distances * per_genuine - short * per_impostor
        value = with_gradient(value, anchors, references, distances, slopes, squared=False)
        total = value.to(anchors.dtype) + 0.0 * anchors.sum()
        parts = {"contrastive": total.detach()}
        if not self.monitoring:
            return LossOutput(total, parts)
        monitors = pair_monitors(
            comparison,
            anchors,
            active_share=num_active / num_impostor,
            empty=num_genuine + num_impostor == 0,
            loss_to_collapse=total / (self.margin**2 / 2),
        )
        return LossOutput(total, parts, monitors)
