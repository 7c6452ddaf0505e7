"""SphereFace's, ArcFace's and CosFace's margins in one formula."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.cosines import angles, class_directions, cosines, margin_softmax, of_labels
from losses.loss import LOSSES, Loss, LossOutput
from losses.types import Fraction, Positive, Radians, SampleRate


@LOSSES.register
class CombinedMargin(Loss):
    """Softmax over cosines, the own class's with three margins: cos(m1 theta + m2) - m3.

    L = -1/B sum_i log( exp(s t_i) / (exp(s t_i) + sum_{j != y} exp(s cos theta_j)) ),
    t_i = cos(m1 theta_y + m2) - m3

    Args:
        embedding_dim: D.
        num_classes: C, identities.
        angle_factor: m1, multiplies the angle.
        angle_margin: m2, radians, added to the angle.
        cosine_margin: m3, subtracted from the cosine.
        scale: s, inverse temperature.
        sample_rate: r, share of the C classes that take part in a step: those of the batch, and others at
            random (`sampling.py`); the train_accuracy is then among them.

    Shape:
        embeddings: (B, D), any norm, normalised here; labels: (B,) int64 in [0, C); total: nats.

    Raises:
        ValueError: labels outside [0, C).

    Source: Deng et al., ArcFace, CVPR 2019, arXiv:1801.07698v4.
    Equation: 4.
    Differs from the paper: nothing; as there, cos(m1 theta + m2) rises again where m1 theta + m2 > pi.
    Checked against: loops over images and classes in float64: test_margin_loss_equals_loops,
        test_margin_gradient_equals_formula; special cases: test_combined_margin_holds_arcface_and_cosface.
    """

    class_rows = ("weight",)

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        angle_factor: Positive = 1.0,
        angle_margin: Radians = 0.3,
        cosine_margin: Fraction = 0.2,
        scale: Positive = 64.0,
        sample_rate: SampleRate = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.sample_rate = sample_rate
        self.angle_factor = angle_factor
        self.angle_margin = angle_margin
        self.cosine_margin = cosine_margin
        self.scale = scale
        self.weight = class_directions(num_classes, embedding_dim)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        classes = self.taking_part(labels)
        embeddings = classes.spread(embeddings)
        cosine = cosines(embeddings, classes.table(self.weight))
        angle = self.angle_factor * angles(of_labels(cosine, labels, classes)) + self.angle_margin
        target = torch.cos(angle) - self.cosine_margin
        return margin_softmax(cosine, labels, target, self.scale, monitoring=self.monitoring, classes=classes)
