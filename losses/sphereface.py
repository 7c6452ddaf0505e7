"""SphereFace: a factor on the angle, the embedding's own length as the scale."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from losses.cosines import angles, class_directions, cosines, margin_softmax, of_labels
from losses.loss import LOSSES, Loss, LossOutput
from losses.types import Bounds, NonNegative, Positive, SampleRate


@LOSSES.named("sphereface")
class SphereFace(Loss):
    """Softmax over |x| cos(theta), the own class's angle multiplied (A-Softmax).

    L = -1/B sum_i log( exp(|x_i| t_i) / (exp(|x_i| t_i) + sum_{j != y} exp(|x_i| cos theta_j)) ),
    t_i = (lambda cos theta_y + psi(theta_y)) / (1 + lambda),
    psi(theta) = (-1)^k cos(m theta) - 2 k  for theta in [k pi / m, (k + 1) pi / m]

    Args:
        embedding_dim: D.
        num_classes: C, identities.
        margin: m, a whole number; 1 is softmax without bias and with classes of unit length.
        lambda_end: share of the plain cosine at the end; 0 is the paper's formula.
        lambda_start: at the beginning of an annealing.
        annealing_epochs: until lambda has fallen from start to end, as 1 / (1 + rate * epoch); 0: at once.
        sample_rate: r, share of the C classes that take part in a step: those of the batch, and others at
            random (`sampling.py`); the train_accuracy is then among them.

    Shape:
        embeddings: (B, D), their length is the scale; labels: (B,) int64 in [0, C); total: nats.

    Raises:
        ValueError: labels outside [0, C); annealing to a lambda of 0.

    Source: Liu et al., SphereFace, CVPR 2017, arXiv:1704.08063v4.
    Equation: 7.
    Differs from the paper: lambda, which the authors' released code anneals from 1000 to 5, over steps there.
    Checked against: loops over images and classes in float64: test_sphereface_equals_loops,
        test_sphereface_lambda_falls_to_its_end; gradient by finite differences (contract).
    """

    class_rows = ("weight",)

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        margin: Annotated[int, Bounds(ge=1, le=8)] = 4,
        lambda_end: NonNegative = 5.0,
        lambda_start: Positive = 1000.0,
        annealing_epochs: NonNegative = 0.0,
        sample_rate: SampleRate = 1.0,
    ) -> None:
        super().__init__()
        if annealing_epochs and not 0.0 < lambda_end <= lambda_start:
            raise ValueError(
                "annealing needs `0 < lambda_end <= lambda_start`, "
                f"but got (lambda_end={lambda_end:g}, lambda_start={lambda_start:g})"
            )
        self.num_classes = num_classes
        self.sample_rate = sample_rate
        self.margin = margin
        self.lambda_end = lambda_end
        self.lambda_start = lambda_start
        self.annealing_epochs = annealing_epochs
        self.weight = class_directions(num_classes, embedding_dim)
        self.set_progress(0.0)

    def set_progress(self, epoch: float) -> None:
        """Set lambda for this epoch."""
        self.plain_share = self.lambda_end
        if epoch < self.annealing_epochs:
            rate = (self.lambda_start / self.lambda_end - 1.0) / self.annealing_epochs
            self.plain_share = self.lambda_start / (1.0 + rate * epoch)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        classes = self.taking_part(labels)
        embeddings = classes.spread(embeddings)
        cosine = cosines(embeddings, classes.table(self.weight))
        own = of_labels(cosine, labels, classes)
        target = (self.plain_share * own + _psi(own, self.margin)) / (1.0 + self.plain_share)
        length = embeddings.norm(dim=1, keepdim=True)
        return margin_softmax(cosine, labels, target, length, monitoring=self.monitoring, classes=classes)


def _psi(cosine: Tensor, margin: int) -> Tensor:
    """psi(theta) as a polynomial in cos(theta): cos(m theta) is Chebyshev's, finite at cos = +-1."""
    before, chebyshev = torch.ones_like(cosine), cosine
    for _ in range(margin - 1):
        before, chebyshev = chebyshev, 2.0 * cosine * chebyshev - before
    k = (angles(cosine.detach()) * (margin / math.pi)).floor()
    sign = 1.0 - 2.0 * (k % 2.0)
    return sign * chebyshev - 2.0 * k
