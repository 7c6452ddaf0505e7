"""Softmax cross entropy over the identities of the training set."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from losses.classes import cross_entropy, hit_rate
from losses.loss import LOSSES, Loss, LossOutput
from losses.types import Probability


@LOSSES.register
class Softmax(Loss):
    """Softmax cross entropy over the training identities.

    L = -1/B sum_i log( exp(W_y x_i + b_y) / sum_j exp(W_j x_i + b_j) )

    Args:
        embedding_dim: D.
        num_classes: C, identities.
        bias: add b to the logits.
        label_smoothing: share of the target that is spread evenly over all C classes.

    Shape:
        embeddings: (B, D), any norm, used as they are; labels: (B,) int64 in [0, C); total: nats.

    Raises:
        ValueError: labels outside [0, C).

    Source: Bridle, NATO ASI 1990; label smoothing: Szegedy et al., CVPR 2016, arXiv:1512.00567v3.
    Equation: label smoothing: section 7.
    Differs from the paper: nothing.
    Checked against: loops in float64: test_softmax_equals_loops, test_softmax_gradient_equals_formula.
    """

    class_rows = ("classifier.weight", "classifier.bias")

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        bias: bool = True,
        label_smoothing: Probability = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.classifier = nn.Linear(embedding_dim, num_classes, bias=bias)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        embeddings = self.classes.spread(embeddings)
        weight = self.classifier.weight.to(embeddings.dtype)
        bias = self.classifier.bias
        logits = F.linear(embeddings, weight, None if bias is None else bias.to(embeddings.dtype))
        total = cross_entropy(logits, labels, self.label_smoothing, self.classes)
        monitors = {"train_accuracy": hit_rate(logits, labels, self.classes)} if self.monitoring else {}
        return LossOutput(total, {"cross_entropy": total.detach()}, monitors)
