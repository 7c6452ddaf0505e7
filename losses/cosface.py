"""CosFace: a margin on the cosine."""

from __future__ import annotations

from torch import Tensor

from losses.cosines import class_directions, cosines, margin_softmax, of_labels
from losses.loss import LOSSES, Loss, LossOutput
from losses.types import Fraction, Positive, SampleRate


@LOSSES.named("cosface")
class CosFace(Loss):
    """Softmax over cosines, the own class's less a margin.

    L = -1/B sum_i log( exp(s t_i) / (exp(s t_i) + sum_{j != y} exp(s cos theta_j)) ),  t_i = cos(theta_y) - m

    Args:
        embedding_dim: D.
        num_classes: C, identities.
        margin: m, in units of the cosine.
        scale: s, inverse temperature.
        sample_rate: r, share of the C classes that take part in a step: those of the batch, and others at
            random (`sampling.py`); the train_accuracy is then among them.

    Shape:
        embeddings: (B, D), any norm, normalised here; labels: (B,) int64 in [0, C); total: nats.

    Raises:
        ValueError: labels outside [0, C).

    Source: Wang et al., CosFace, CVPR 2018, arXiv:1801.09414v2.
    Equation: 4.
    Differs from the paper: nothing.
    Checked against: loops over images and classes in float64: test_margin_loss_equals_loops,
        test_margin_gradient_equals_formula, test_margin_zero_is_norm_softmax.
    """

    class_rows = ("weight",)

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        margin: Fraction = 0.35,
        scale: Positive = 64.0,
        sample_rate: SampleRate = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.sample_rate = sample_rate
        self.margin = margin
        self.scale = scale
        self.weight = class_directions(num_classes, embedding_dim)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        classes = self.taking_part(labels)
        embeddings = classes.spread(embeddings)
        cosine = cosines(embeddings, classes.table(self.weight))
        target = of_labels(cosine, labels, classes) - self.margin
        return margin_softmax(cosine, labels, target, self.scale, monitoring=self.monitoring, classes=classes)
