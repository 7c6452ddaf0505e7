"""Softmax over cosines: what every margin below is added to."""

from __future__ import annotations

from torch import Tensor

from losses.cosines import class_directions, cosines, margin_softmax, of_labels
from losses.loss import LOSSES, Loss, LossOutput
from losses.types import Positive, SampleRate


@LOSSES.register
class NormSoftmax(Loss):
    """Softmax over the scaled cosines between embedding and classes.

    L = -1/B sum_i log( exp(s cos theta_y) / sum_j exp(s cos theta_j) )

    Args:
        embedding_dim: D.
        num_classes: C, identities.
        scale: s, inverse temperature. With too small a scale and C classes the loss stays above
            log(1 + (C - 1) exp(-s C / (C - 1))); with one as large as beside a margin (64) a small lead in
            the cosine already satisfies it, and embeddings spread less.
        sample_rate: r, share of the C classes that take part in a step: those of the batch, and others at
            random (`sampling.py`); the train_accuracy is then among them.

    Shape:
        embeddings: (B, D), any norm, normalised here; labels: (B,) int64 in [0, C); total: nats.

    Raises:
        ValueError: labels outside [0, C).

    Source: Wang et al., NormFace, ACM MM 2017, arXiv:1704.06369v4.
    Equation: section 3.3.
    Differs from the paper: the scale is fixed, not learned.
    Checked against: loops over images and classes in float64: test_margin_loss_equals_loops,
        test_margin_gradient_equals_formula.
    """

    class_rows = ("weight",)

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        scale: Positive = 16.0,
        sample_rate: SampleRate = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.sample_rate = sample_rate
        self.scale = scale
        self.weight = class_directions(num_classes, embedding_dim)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        classes = self.taking_part(labels)
        embeddings = classes.spread(embeddings)
        cosine = cosines(embeddings, classes.table(self.weight))
        target = of_labels(cosine, labels, classes)
        return margin_softmax(cosine, labels, target, self.scale, monitoring=self.monitoring, classes=classes)
