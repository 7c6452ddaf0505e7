"""Supervised contrastive loss and InfoNCE: find the positive among all others by a softmax."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.distances import normalize, squared_distances
from losses.loss import LOSSES, Loss, LossOutput
from losses.mining import Comparison, compare
from losses.monitors import pair_monitors
from losses.types import Positive


@LOSSES.register
class SupCon(Loss):
    """Softmax over all other images of the batch; every positive is a target.

    L = mean_i -1/|P_i| sum_{p in P_i} log( exp(S_ip/t) / sum_{k != i} exp(S_ik/t) )    i with positives

    Args:
        temperature: t; S are cosines.

    Shape:
        embeddings: (B, D), any norm, normalised here; labels: (B,) int64, any numbers; total: nats. Without
        positives it is zero, with a zero gradient, and `empty` says so.

    Monitors: active_share, anchor-positive pairs farther apart than the anchor and its closest negative;
    those of `Triplet`. At collapse the loss is log(B - 1).

    Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, arXiv:2004.11362v5.
    Equation: 2.
    Differs from the paper: a mean over anchors instead of a sum; one view of an image, so that an anchor may
        have no positive; it then counts in no mean, but as a negative of others.
    Checked against: loops over anchors in float64: test_sup_con_value_equals_loops; gradient by finite
        differences (contract).
    """

    def __init__(self, *, temperature: Positive = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        unit = normalize(embeddings)
        return self.against(unit, labels, unit, labels)

    def against(self, anchors: Tensor, labels: Tensor, references: Tensor, others: Tensor) -> LossOutput:
        """The loss of anchors among references; arguments as in `Triplet.against`."""
        comparison, logits, positives = _logits(anchors, labels, references, others, self.temperature)
        everyone = logits.masked_fill(_itself(logits), torch.finfo(logits.dtype).min).logsumexp(1)
        count = comparison.is_positive.sum(1)
        surprise = everyone - (positives * comparison.is_positive).sum(1) / count.clamp_min(1)
        has_positive = count > 0
        total = (surprise * has_positive).sum() / has_positive.sum().clamp_min(1) + 0.0 * anchors.sum()
        parts = {"sup_con": total.detach()}
        if not self.monitoring:
            return LossOutput(total, parts)
        monitors = pair_monitors(
            comparison,
            anchors,
            active_share=_undercut_share(comparison),
            empty=~has_positive.any(),
            loss_to_collapse=total / math.log(len(references) - 1)
            if len(references) > 2
            else total * math.nan,
        )
        return LossOutput(total, parts, monitors)


@LOSSES.register
class InfoNce(Loss):
    """Softmax over one positive and all negatives, for every anchor-positive pair.

    L = mean over pairs (i, p) of -log( exp(S_ip/t) / (exp(S_ip/t) + sum_{n in N_i} exp(S_in/t)) )

    Args:
        temperature: t; S are cosines.

    Shape:
        embeddings: (B, D), any norm, normalised here; labels: (B,) int64, any numbers; total: nats. Without
        a pair and a negative it is zero, with a zero gradient, and `empty` says so.

    Monitors: those of `SupCon`. At collapse a pair's loss is log(1 + its negatives).

    Source: van den Oord et al., 2018, arXiv:1807.03748v2; with labels: Sohn, N-pair loss, NeurIPS 2016.
    Equation: 4 (van den Oord).
    Differs from the paper: positives are images of one identity, similarity is the cosine over t; the other
        positives of an anchor are left out of the sum below.
    Checked against: loops over pairs in float64: test_info_nce_value_equals_loops; gradient by finite
        differences (contract).
    """

    def __init__(self, *, temperature: Positive = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        unit = normalize(embeddings)
        return self.against(unit, labels, unit, labels)

    def against(self, anchors: Tensor, labels: Tensor, references: Tensor, others: Tensor) -> LossOutput:
        """The loss of anchors among references; arguments as in `Triplet.against`."""
        comparison, logits, positives = _logits(anchors, labels, references, others, self.temperature)
        lowest = torch.finfo(logits.dtype).min
        negatives = logits.scatter(1, comparison.same_identity, lowest).logsumexp(1, keepdim=True)
        # log(exp(p) + exp(n)) - p = softplus(n - p)
        surprise = F.softplus(negatives - positives) * comparison.is_positive
        num_negatives = comparison.negative_mask().sum(1, keepdim=True)
        num_pairs = comparison.is_positive.sum()
        total = surprise.sum() / num_pairs.clamp_min(1) + 0.0 * anchors.sum()
        parts = {"info_nce": total.detach()}
        if not self.monitoring:
            return LossOutput(total, parts)
        collapsed = (num_negatives.log1p() * comparison.is_positive).sum() / num_pairs
        monitors = pair_monitors(
            comparison,
            anchors,
            active_share=_undercut_share(comparison),
            empty=~(comparison.is_positive & (num_negatives > 0)).any(),
            loss_to_collapse=total / collapsed,
        )
        return LossOutput(total, parts, monitors)


def _logits(
    anchors: Tensor, labels: Tensor, references: Tensor, others: Tensor, temperature: float
) -> tuple[Comparison, Tensor, Tensor]:
    """Comparison, cosines over temperature (B, R), and those of the anchor's own identity (B, K)."""
    distances = squared_distances(anchors, references)
    comparison = compare(distances, labels, others, squared=True, embedding_dim=anchors.shape[1])
    logits = F.linear(anchors, references) / temperature
    return comparison, logits, logits.gather(1, comparison.same_identity)


def _itself(logits: Tensor) -> Tensor:
    return torch.eye(*logits.shape, dtype=torch.bool, device=logits.device)


def _undercut_share(comparison: Comparison) -> Tensor:
    closest = comparison.negative_distances(math.inf).amin(1, keepdim=True)
    undercut = comparison.positive_distances(-math.inf) > closest
    return undercut.sum() / comparison.is_positive.sum()
