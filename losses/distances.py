"""Distances between embeddings: whole matrices without a gradient, chosen pairs with one.

B anchors, R references (the batch itself, and maybe embeddings of earlier batches), D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


@dataclass(frozen=True, slots=True)
class Gaps:
    """What a triplet costs by its gap d_ap - d_an.

    Args:
        squared: whether the distances are squared.
        penalty: gaps (N,) -> sum of what they cost, and its derivative by each.
    """

    squared: bool
    penalty: Callable[[Tensor], tuple[Tensor, Tensor]]


_SHORTEST = 1e-12  # of a row that has a direction


def normalize(embeddings: Tensor) -> Tensor:
    """Rows of unit Euclidean length; a row of zeros stays one, without a gradient."""
    result: Tensor = _Normalize.apply(embeddings)
    return result


class _Normalize(Function):
    # F.normalize gives the same through eleven nodes of the graph: at B = 90 a sixth of a whole triplet step.
    @staticmethod
    def forward(ctx: Any, embeddings: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
        inverse = torch.where(lengths > _SHORTEST, lengths.reciprocal(), 0.0)
        unit = embeddings * inverse
        ctx.save_for_backward(unit, inverse)
        return unit

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        unit, inverse = ctx.saved_tensors
        along = (gradient * unit).sum(1, keepdim=True)
        return torch.addcmul(gradient, unit, along, value=-1.0).mul_(inverse)


@torch.no_grad()
def squared_distances(anchors: Tensor, references: Tensor) -> Tensor:
    """(B, D), (R, D) -> (B, R) squared Euclidean distances, by one matrix product, without a gradient.

    The error is a few roundings of the squared norms (1e-6 for unit rows in float32); never negative.
    """
    lengths = anchors.square().sum(1)
    others = lengths if references is anchors else references.square().sum(1)
    squares = lengths.unsqueeze(1) + others
    return squares.addmm_(anchors, references.T, alpha=-2.0).clamp_min_(0.0)


def gap_sum(
    anchors: Tensor, references: Tensor, triplets: tuple[Tensor | None, Tensor, Tensor], gaps: Gaps
) -> tuple[Tensor, Tensor]:
    """Sum of a function of d_ap - d_an over triplets named one by one, with gradient; and those gaps.

    The distances are taken from the rows themselves, exactly. Costs of order N x D.

    Args:
        anchors: (B, D).
        references: (R, D).
        triplets: (N,) rows of the anchor in `anchors`, of positive and negative in `references`. No anchors:
            each is that of one triplet, in order.
        gaps: distance and function.

    Returns:
        The sum and the gaps (N,), these without gradient.
    """
    found: tuple[Tensor, Tensor] = _GapSum.apply(anchors, references, triplets, gaps)
    return found


class _GapSum(Function):
    # Autograd's own graph of the three gathers takes 260 us at B = 90, this 120.
    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        references: Tensor,
        triplets: tuple[Tensor | None, Tensor, Tensor],
        gaps: Gaps,
    ) -> tuple[Tensor, Tensor]:
        anchor, positive, negative = triplets
        rows = anchors if anchor is None else anchors.index_select(0, anchor)
        to_positive = rows - references.index_select(0, positive)
        to_negative = rows - references.index_select(0, negative)
        d_ap, d_an = to_positive.square().sum(1), to_negative.square().sum(1)
        if not gaps.squared:
            d_ap, d_an = d_ap.sqrt_(), d_an.sqrt_()
        difference = d_ap - d_an
        value, slopes = gaps.penalty(difference)
        if gaps.squared:
            pull, push = 2.0 * slopes, None  # alike
        else:  # equal rows have no such derivative; 0 is one of the subgradients
            pull, push = (torch.where(d > 0.0, slopes / d, 0.0) for d in (d_ap, d_an))
        ctx.save_for_backward(anchor, positive, negative, to_positive, to_negative, pull, push)
        ctx.sizes = len(anchors), len(references)
        ctx.mark_non_differentiable(difference)
        return value, difference

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        anchor, positive, negative, to_positive, to_negative, pull, push = ctx.saved_tensors
        num_anchors, num_references = ctx.sizes
        by_pull = (gradient * pull).unsqueeze(1)
        by_push = by_pull if push is None else (gradient * push).unsqueeze(1)
        by_positive, by_negative = to_positive * by_pull, to_negative * by_push
        by_anchors = by_positive - by_negative
        if anchor is not None:
            by_anchors = _sum_rows(num_anchors, (anchor, by_anchors))
        by_references = _sum_rows(num_references, (positive, by_positive.neg_()), (negative, by_negative))
        return by_anchors, by_references, None, None


def _sum_rows(num_rows: int, *parts: tuple[Tensor, Tensor]) -> Tensor:
    """(num_rows, D) sums of rows (N, D) by their places (N,); on a GPU in the same order every time."""
    first = parts[0][1]
    result = first.new_zeros(num_rows, first.shape[1])
    for places, rows in parts:
        if result.is_cuda:  # index_add_ is faster there, and adds in an order of its own
            result.index_put_((places,), rows, accumulate=True)
        else:
            result.index_add_(0, places, rows)
    return result


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
