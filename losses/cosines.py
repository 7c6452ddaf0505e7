"""What the losses on the angle between an embedding and its class have in common."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.classes import ALL_CLASSES, Classes, cross_entropy, hit_rate
from losses.distances import normalize
from losses.loss import LossOutput


def class_directions(num_classes: int, embedding_dim: int) -> nn.Parameter:
    """One direction a class, (C, D); only the direction matters. Drawn as insightface does, std 0.01."""
    return nn.Parameter(torch.empty(num_classes, embedding_dim).normal_(std=0.01))


def cosines(embeddings: Tensor, weight: Tensor) -> Tensor:
    """(B, D) embeddings and (C, D) class directions -> (B, C) cosines of their angles."""
    return F.linear(normalize(embeddings), normalize(weight.to(embeddings.dtype)))


def of_labels(cosine: Tensor, labels: Tensor, classes: Classes = ALL_CLASSES) -> Tensor:
    """(B,) the cosine that each image has with its own class; of no meaning where that is not held here."""
    return classes.pick(cosine, labels)


def angles(cosine: Tensor) -> Tensor:
    """Angles in radians, with a finite gradient.

    d theta / d cos = -1 / sin(theta) has no bound at 0 and pi. There the cosine is held one rounding off,
    which shifts the angle by less than 5e-4 in float32, and the gradient is 0.
    """
    edge = 1.0 - torch.finfo(cosine.dtype).eps
    return cosine.clamp(-edge, edge).acos()


def margin_softmax(
    cosine: Tensor,
    labels: Tensor,
    target: Tensor,
    scale: float | Tensor,
    *,
    monitoring: bool,
    classes: Classes = ALL_CLASSES,
) -> LossOutput:
    """Cross entropy over scaled cosines, of which each image's own is replaced.

    Monitors: train_accuracy, by the cosines without margin; target_angle_deg, mean angle between an
    embedding and its class.

    Args:
        cosine: (B, k), of the classes that are held here and take part.
        labels: (B,).
        target: (B,), in place of the cosine with the own class; read where that is held here.
        scale: s, a number or (B, 1).
        monitoring: whether to compute monitors.
        classes: whose cosines these are.
    """
    logits = scale * classes.put(cosine, labels, target)
    total = cross_entropy(logits, labels, classes=classes)
    monitors = {}
    if monitoring:
        own = angles(classes.of_labels(cosine.detach(), labels)).mean()
        monitors = {
            "train_accuracy": hit_rate(cosine, labels, classes),
            "target_angle_deg": own * (180.0 / math.pi),
        }
    return LossOutput(total, {"cross_entropy": total.detach()}, monitors)
