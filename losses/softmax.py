"""Softmax cross entropy over the identities of the training set."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from losses.classes import cross_entropy, hit_rate
from losses.loss import LOSSES, Loss, LossOutput
from losses.types import Probability, SampleRate


@LOSSES.register
class Softmax(Loss):
    """Softmax cross entropy over the training identities.

    L = -1/B sum_i log( exp(W_y x_i + b_y) / sum_j exp(W_j x_i + b_j) )

    Args:
        embedding_dim: D.
        num_classes: C, identities.
        bias: add b to the logits.
        label_smoothing: share of the target that is spread evenly over all classes that take part.
        sample_rate: r, share of the C classes that take part in a step: those of the batch, and others at
            random (`sampling.py`); the train_accuracy is then among them.

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
        sample_rate: SampleRate = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.sample_rate = sample_rate
        self.label_smoothing = label_smoothing
        self.classifier = nn.Linear(embedding_dim, num_classes, bias=bias)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        classes = self.taking_part(labels)
        embeddings = classes.spread(embeddings)
        weight = classes.table(self.classifier.weight).to(embeddings.dtype)
        bias: Tensor | None = self.classifier.bias
        if bias is not None:
            bias = classes.table(bias).to(embeddings.dtype)
        logits = F.linear(embeddings, weight, bias)
        total = cross_entropy(logits, labels, self.label_smoothing, classes)
        monitors = {"train_accuracy": hit_rate(logits, labels, classes)} if self.monitoring else {}
        return LossOutput(total, {"cross_entropy": total.detach()}, monitors)
