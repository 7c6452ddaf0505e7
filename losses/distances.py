"""Distances between embeddings: whole matrices without a gradient, chosen pairs with one.

B anchors, R references (the batch itself, and maybe embeddings of earlier batches), D dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


def normalize(embeddings: Tensor) -> Tensor:
    """Rows of unit Euclidean length; a row of zeros stays one."""
    return F.normalize(embeddings, dim=1)


@torch.no_grad()
def squared_distances(anchors: Tensor, references: Tensor) -> Tensor:
    """(B, D), (R, D) -> (B, R) squared Euclidean distances, by one matrix product, without a gradient.

    The error is a few roundings of the squared norms (1e-6 for unit rows in float32); never negative.
    """
    squares = anchors.square().sum(1).unsqueeze(1) + references.square().sum(1)
    return squares.addmm_(anchors, references.T, alpha=-2.0).clamp_min_(0.0)


def row_distances(left: Tensor, right: Tensor, *, squared: bool) -> Tensor:
    """(N, D), (N, D) -> (N,) distances of corresponding rows, with gradient.

    The plain distance of equal rows has no gradient; here it is 0, which one of its subgradients is.
    """
    squares = (left - right).square().sum(1)
    if squared:
        return squares
    apart = squares > 0.0
    return torch.where(apart, torch.where(apart, squares, 1.0).sqrt(), 0.0)


def with_gradient(
    value: Tensor, anchors: Tensor, references: Tensor, distances: Tensor, weights: Tensor, *, squared: bool
) -> Tensor:
    """`value`, with the gradient of a function of all B x R distances whose derivatives are `weights`.

    Spares autograd the B x R x D differences: the gradient is two matrix products.

    Args:
        value: scalar without gradient, the function at these distances.
        anchors: (B, D).
        references: (R, D).
        distances: (B, R) between them.
        weights: (B, R), derivative of the function by each distance.
        squared: whether the distances are squared.
    """
    if not squared:
        # d sqrt(s) = ds / (2 sqrt(s)). Below this length a float distance is mostly rounding; the floor
        # lets the pull of such a pair fade to 0 instead of growing without bound.
        floor = (10.0 * torch.finfo(distances.dtype).eps) ** 0.5
        weights = weights / (2.0 * distances.clamp_min(floor))
    result: Tensor = _WithGradient.apply(value, anchors, references, weights)
    return result


class _WithGradient(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, anchors: Tensor, references: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(anchors, references, weights)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor, None]:
        # d/da_i sum_ij w_ij |a_i - r_j|^2 = 2 (sum_j w_ij) a_i - 2 sum_j w_ij r_j, and likewise for r_j
        anchors, references, weights = ctx.saved_tensors
        by_anchors = weights.sum(1, keepdim=True) * anchors - weights @ references
        by_references = weights.sum(0).unsqueeze(1) * references - weights.T @ anchors
        factor = 2.0 * gradient.to(anchors.dtype)
        return None, factor * by_anchors, factor * by_references, None


def accumulator(device: torch.device) -> torch.dtype:
    """Type for sums of millions of terms: float64 where the device has it (Apple's has not)."""
    return torch.float32 if device.type == "mps" else torch.float64
