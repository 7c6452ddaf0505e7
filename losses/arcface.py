"""ArcFace: a margin on the angle."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.cosines import angles, class_directions, cosines, margin_softmax, of_labels
from losses.loss import LOSSES, Loss, LossOutput
from losses.types import Positive, Radians, SampleRate


@LOSSES.named("arcface")
class ArcFace(Loss):
    """Softmax over cosines, the own class's at an angle widened by a margin.

    L = -1/B sum_i log( exp(s t_i) / (exp(s t_i) + sum_{j != y} exp(s cos theta_j)) ),  t_i = cos(theta_y + m)

    Args:
        embedding_dim: D.
        num_classes: C, identities.
        margin: m, radians (0.5 rad = 28.6 deg).
        scale: s, inverse temperature.
        sample_rate: r, share of the C classes that take part in a step: those of the batch, and others at
            random (`sampling.py`); the train_accuracy is then among them.

    Shape:
        embeddings: (B, D), any norm, normalised here; labels: (B,) int64 in [0, C); total: nats.

    Raises:
        ValueError: labels outside [0, C).

    Source: Deng et al., ArcFace, CVPR 2019, arXiv:1801.07698v4.
    Equation: 3.
    Differs from the paper: nothing. The gradient is that of the formula: d cos(theta + m) / d cos(theta) =
        sin(theta + m) / sin(theta). Implementations that widen the angle without gradient (insightface's
        combined head, opensphere) have 1 in its place: the same loss, another gradient. For theta + m > pi
        some replace the cosine by a line; the formula, and this, do not.
    Checked against: the paper's formula and its derivative by hand, in float64:
        test_margin_loss_equals_loops, test_margin_gradient_equals_formula,
        test_arcface_gradient_is_not_the_detached_one, test_margin_zero_is_norm_softmax;
        deepinsight/insightface@2e2e8c9 recognition/arcface_torch/losses.py where theta + m < pi:
        test_arcface_equals_insightface_below_pi.
    """

    class_rows = ("weight",)

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        margin: Radians = 0.5,
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
        target = torch.cos(angles(of_labels(cosine, labels, classes)) + self.margin)
        return margin_softmax(cosine, labels, target, self.scale, monitoring=self.monitoring, classes=classes)
