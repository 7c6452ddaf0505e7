"""Numbers that tell how a loss over pairs is doing; they never touch its gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losses.mining import Comparison

_SHARES = (0.05, 0.50, 0.95)
_PERCENTILES = tuple(f"{pair}_p{share * 100:.0f}" for pair in ("d_ap", "d_an") for share in _SHARES)
_MAX_PAIRS = 65_536
_MIN_ANCHORS = 64


def pair_monitors(
    comparison: Comparison, unit: Tensor, *, active_share: Tensor, empty: Tensor, loss_to_collapse: Tensor
) -> dict[str, Tensor]:
    """The monitors that every loss over pairs has.

    Args:
        comparison: of the batch.
        unit: (B, D), its normalised embeddings.
        active_share: share of what the loss looks at that it still works on.
        empty: whether the batch holds nothing that the loss could look at.
        loss_to_collapse: the loss, as a share of what it is when all embeddings are one point.
    """
    return {
        "active_share": active_share.detach().to(unit.dtype),
        "empty": empty.to(unit.dtype),
        "loss_to_collapse": loss_to_collapse.detach().to(unit.dtype),
        **distance_percentiles(comparison),
        **spread(unit.detach()),
    }


@torch.no_grad()
def distance_percentiles(comparison: Comparison) -> dict[str, Tensor]:
    """5, 50 and 95 percent of the anchor-positive (ap) and anchor-negative (an) distances.

    Squared Euclidean whatever the loss uses, so that they stand beside the protocol's thresholds. Up to
    65,536 pairs all enter; in larger batches those of evenly spaced anchors, at least 64. nan: no such pair.
    """
    distances, own, is_positive = comparison.distances, comparison.same_identity, comparison.is_positive
    num_anchors, num_references = distances.shape
    wanted = min(num_anchors, max(_MIN_ANCHORS, _MAX_PAIRS // num_references))
    if wanted < num_anchors:
        anchors = torch.arange(wanted, device=distances.device) * num_anchors // wanted
        distances, own, is_positive = (whole[anchors] for whole in (distances, own, is_positive))
    positives = torch.where(is_positive, distances.gather(1, own), torch.nan)
    negatives = distances.scatter(1, own, torch.nan)
    shares = torch.tensor(_SHARES, dtype=distances.dtype, device=distances.device)
    quantiles = torch.cat([values.flatten().nanquantile(shares) for values in (positives, negatives)])
    quantiles = quantiles if comparison.squared else quantiles.square()
    return dict(zip(_PERCENTILES, quantiles.unbind(), strict=True))


@torch.no_grad()
def spread(unit: Tensor) -> dict[str, Tensor]:
    """How much of the sphere a batch of normalised embeddings (B, D) fills.

    embedding_std: root mean square distance from their mean; 0 all in one point, near 1 all around.
    effective_rank: (trace C)^2 / trace C^2 of their covariance C, the participation ratio of its eigenvalues:
    between 1 (a line) and min(B - 1, D); 0 without any spread.
    """
    centered = unit - unit.mean(0)
    length = torch.linalg.vector_norm(centered)
    # B C and the Gram matrix have the same eigenvalues: take the smaller. vector_norm: of all entries
    product = centered.T @ centered if len(unit) > unit.shape[1] else centered @ centered.T
    root = length.square() / torch.linalg.vector_norm(product).clamp_min(torch.finfo(unit.dtype).tiny)
    return {"embedding_std": length / math.sqrt(len(unit)), "effective_rank": root.square()}
