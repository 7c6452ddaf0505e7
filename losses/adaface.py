"""AdaFace: a margin that follows the length of the embedding, which follows the quality of the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losses.cosines import angles, class_directions, cosines, margin_softmax, of_labels
from losses.loss import LOSSES, Loss, LossOutput
from losses.types import Fraction, Positive, SampleRate

_SHORTEST, _LONGEST = 1e-3, 100.0  # lengths are cut to this range before their statistics, as the authors do
_EPSILON = 1e-3  # added to the standard deviation, as the authors do


@LOSSES.named("adaface")
class AdaFace(Loss):
    """Softmax over cosines with a margin that adapts to image quality, read from the embedding's length.

    L = -1/B sum_i log( exp(s t_i) / (exp(s t_i) + sum_{j != y} exp(s cos theta_j)) ),
    t_i = cos(theta_y + g_angle) - g_add,  g_angle = -m z_i,  g_add = m z_i + m,
    z_i = clip((|x_i| - mean) / (std / h), -1, 1), a constant to the gradient

    Args:
        embedding_dim: D.
        num_classes: C, identities.
        margin: m.
        scale: s, inverse temperature.
        concentration: h; 0.333 keeps two thirds of the lengths within the clip.
        momentum: share of a new batch in the running mean and standard deviation of the lengths.
        sample_rate: r, share of the C classes that take part in a step: those of the batch, and others at
            random (`sampling.py`); the train_accuracy is then among them.

    Shape:
        embeddings: (B, D), length tells quality, normalised here; labels: (B,) int64 in [0, C); total: nats.

    Raises:
        ValueError: labels outside [0, C).

    Monitors: embedding_norm, mean length; those of `NormSoftmax`.

    Source: Kim et al., AdaFace, CVPR 2022, arXiv:2204.00964v2.
    Equation: section 3.2.
    Differs from the paper: nothing known; theta + g_angle is cut to [0, pi] as in the authors' code, which
        also cuts cosines 1e-3 short of +-1 (this does not).
    Checked against: mk-minchul/AdaFace@9cb9816 head.py, its steps written out in float64:
        test_adaface_equals_the_steps_of_the_authors_code, test_adaface_gradient_takes_the_length_as_constant.
    """

    norm_mean: Tensor
    norm_std: Tensor

    class_rows = ("weight",)

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        margin: Fraction = 0.4,
        scale: Positive = 64.0,
        concentration: Positive = 0.333,
        momentum: Fraction = 0.01,
        sample_rate: SampleRate = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.sample_rate = sample_rate
        self.margin = margin
        self.scale = scale
        self.concentration = concentration
        self.momentum = momentum
        self.weight = class_directions(num_classes, embedding_dim)
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class. In training mode the statistics of the lengths move, before they are used."""
        lengths = embeddings.detach().norm(dim=1).clamp(_SHORTEST, _LONGEST)
        if self.training and len(lengths) > 1:  # one length has no standard deviation
            self.norm_mean.lerp_(lengths.mean().to(self.norm_mean.dtype), self.momentum)
            self.norm_std.lerp_(lengths.std().to(self.norm_std.dtype), self.momentum)
        quality = (lengths - self.norm_mean) / (self.norm_std + _EPSILON) * self.concentration
        quality = quality.clamp(-1.0, 1.0).to(embeddings.dtype)
        classes = self.taking_part(labels)
        embeddings = classes.spread(embeddings)
        cosine = cosines(embeddings, classes.table(self.weight))
        angle = angles(of_labels(cosine, labels, classes)) - self.margin * quality
        target = angle.clamp(0.0, math.pi).cos() - self.margin * (1.0 + quality)
        output = margin_softmax(
            cosine, labels, target, self.scale, monitoring=self.monitoring, classes=classes
        )
        if not self.monitoring:
            return output
        return LossOutput(output.total, output.parts, {**output.monitors, "embedding_norm": lengths.mean()})
