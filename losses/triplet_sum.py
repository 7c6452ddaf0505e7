"""The sum of a triplet loss over mined triplets, with its gradient, in memory of order B x R."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.distances import Gaps, accumulator, gap_sum, with_gradient
from losses.mining import BLOCK, Band, Comparison, Triplets

_SEARCHED = 2**20  # entries whose places among the positives are held at once, 12 bytes each
_MANY_POSITIVES = 128  # from here on searching them beats comparing with one after another


@dataclass(frozen=True, slots=True)
class TripletSum:
    """What a mined set of triplets comes to; scalars.

    Args:
        value: sum of max(0, d_ap - d_an + alpha), or of log(1 + exp(d_ap - d_an)), with gradient.
        active: triplets above zero; with the soft margin those in the wrong order, d_an < d_ap.
        mined: triplets that the sum runs over.
        candidates: those that the miner chose from: all valid triplets, anchors, or anchor-positive pairs.
    """

    value: Tensor
    active: Tensor
    mined: Tensor
    candidates: Tensor


def sum_triplets(
    mined: Triplets | Band, comparison: Comparison, anchors: Tensor, references: Tensor, *, soft: bool = False
) -> TripletSum:
    """Sum hinge or soft margin over mined triplets.

    Args:
        mined: by a miner from `comparison`.
        comparison: of the same anchors (B, D) and references (R, D).
        anchors: normalised.
        references: normalised; the first B are the anchors.
        soft: the soft margin.
    """
    if isinstance(mined, Band):
        return _sum_band(mined, comparison, anchors, references, soft)
    if len(mined.anchor) <= 4 * len(anchors):
        return _sum_rows(mined, comparison, anchors, references, soft)
    return _sum_pairs(mined, comparison, anchors, references, soft)


def _sum_rows(
    mined: Triplets, comparison: Comparison, anchors: Tensor, references: Tensor, soft: bool
) -> TripletSum:
    """Few triplets: gather their rows."""
    triplets = (None if mined.one_each else mined.anchor, mined.positive, mined.negative)

    def penalty(gaps: Tensor) -> tuple[Tensor, Tensor]:
        if soft:
            return F.softplus(gaps).sum(), gaps.sigmoid()
        excess = gaps + comparison.alpha
        return excess.relu().sum(), (excess > 0.0).to(gaps.dtype)

    value, gaps = gap_sum(anchors, references, triplets, Gaps(comparison.squared, penalty))
    return _counted(value, gaps > (0.0 if soft else -comparison.alpha), mined)


def _sum_pairs(
    mined: Triplets, comparison: Comparison, anchors: Tensor, references: Tensor, soft: bool
) -> TripletSum:
    """Many triplets, whose rows would be several times N x D: each adds its slope at d_ap, less at d_an."""
    distances = comparison.distances
    gaps = distances[mined.anchor, mined.positive] - distances[mined.anchor, mined.negative]
    active = gaps > (0.0 if soft else -comparison.alpha)
    penalties = F.softplus(gaps) if soft else F.relu(gaps + comparison.alpha)
    slopes = gaps.sigmoid() if soft else active.to(gaps.dtype)
    weights = torch.zeros_like(distances)
    weights.index_put_((mined.anchor, mined.positive), slopes, accumulate=True)
    weights.index_put_((mined.anchor, mined.negative), -slopes, accumulate=True)
    value = penalties.sum(dtype=accumulator(distances.device))
    value = with_gradient(value, anchors, references, distances, weights, squared=comparison.squared)
    return _counted(value, active, mined)


def _counted(value: Tensor, active: Tensor, mined: Triplets) -> TripletSum:
    count = active.count_nonzero()
    mined_count, candidates = (torch.full_like(count, of) for of in (len(mined.anchor), mined.candidates))
    return TripletSum(value, count, mined_count, candidates)


def _sum_band(
    band: Band, comparison: Comparison, anchors: Tensor, references: Tensor, soft: bool
) -> TripletSum:
    """Every triplet of a kind: the sum's derivative by each distance, and from it two matrix products."""
    found = (_soft_slopes if soft else _hinge_slopes)(comparison, band)
    value = with_gradient(
        found.value, anchors, references, comparison.distances, found.slopes, squared=comparison.squared
    )
    return TripletSum(value, found.active, found.mined, _count_valid(comparison))


@dataclass(frozen=True, slots=True)
class _Slopes:
    """A sum over a band, without gradient: `slopes` (B, R) are its derivatives by the distances."""

    value: Tensor
    slopes: Tensor
    active: Tensor
    mined: Tensor


def _hinge_slopes(comparison: Comparison, band: Band) -> _Slopes:
    """The hinge is linear where it is active: slopes are whole numbers, and the sum follows from them.

    slope = (active triplets in which this distance is d_ap) - (those in which it is d_an), and the sum is
    <slopes, distances> + alpha * active.
    """
    by_positive, by_negative = _count(comparison, band)
    active = by_positive.sum(dtype=accumulator(by_positive.device))
    slopes = _joined(by_positive, by_negative, comparison)
    value = _inner_product(slopes, comparison.distances) + comparison.alpha * active
    mined = _count_valid(comparison) if band == Band() else active.long()
    return _Slopes(value, slopes, active.long(), mined)


def _soft_slopes(comparison: Comparison, band: Band) -> _Slopes:
    """The soft margin has no such shortcut: one positive of every anchor at a time, all references."""
    positives = comparison.positive_distances(-math.inf)
    negatives = comparison.negative_distances(math.inf)
    by_positive, by_negative = torch.zeros_like(positives), torch.zeros_like(negatives)
    value = torch.zeros((), dtype=accumulator(negatives.device), device=negatives.device)
    wrong = torch.zeros((), dtype=torch.long, device=negatives.device)
    inside = torch.zeros_like(wrong)
    for place in range(positives.shape[1]):
        gaps = positives[:, place : place + 1] - negatives  # -inf for what is no triplet
        chosen = (-gaps > band.above) & (-gaps < band.below) & (gaps > -math.inf)
        slopes = gaps.sigmoid() * chosen
        by_negative += slopes
        by_positive[:, place] = slopes.sum(1)
        value += (F.softplus(gaps) * chosen).sum(dtype=value.dtype)
        wrong += (chosen & (gaps > 0.0)).sum()
        inside += chosen.sum()
    return _Slopes(value, _joined(by_positive, by_negative, comparison), wrong, inside)


def _joined(by_positive: Tensor, by_negative: Tensor, comparison: Comparison) -> Tensor:
    """(B, K) and (B, R) -> (B, R), the second negated; overwrites it."""
    # Set, not added (which on a GPU depends on the order): at the own identity by_negative is zero, and what
    # fills up shorter lists is the anchor itself, zero every time.
    return by_negative.neg_().scatter_(1, comparison.same_identity, by_positive)


def _count_valid(comparison: Comparison) -> Tensor:
    return (comparison.is_positive.sum(1) * comparison.negative_mask().sum(1)).sum()


def _count(comparison: Comparison, band: Band) -> tuple[Tensor, Tensor]:
    """How many active triplets of the band each anchor-positive (B, K) and anchor-negative (B, R) is part of.

    The counts are float32: exact up to 2^24 = 16.8 million, and none exceeds R.
    """
    positives = comparison.positive_distances(-math.inf)  # what fills up is closer than any negative
    negatives = comparison.negative_distances(math.inf)
    below = min(comparison.alpha, band.below)
    if positives.shape[1] > _MANY_POSITIVES:
        return _count_by_search(positives, negatives, above=band.above, below=below)
    return _count_by_comparison(positives, negatives, above=band.above, below=below)


def _count_by_comparison(
    positives: Tensor, negatives: Tensor, *, above: float, below: float
) -> tuple[Tensor, Tensor]:
    """One positive of every anchor at a time is compared with all references: K x B x R comparisons."""
    num_places = positives.shape[1]
    by_place = positives.new_zeros(num_places, len(positives))
    by_negative = torch.zeros_like(negatives)
    ones = negatives.new_ones(negatives.shape[1])
    # In blocks of rows: 1.6 ms instead of 10 for B = 512, K = 8 on one core, against (B, K, R) at once. Sums
    # go through a view made once: `by_negative[here] += active` would copy the block onto itself each time.
    rows = len(negatives) if negatives.is_cuda else max(1, BLOCK // negatives.shape[1])
    for start in range(0, len(negatives), rows):
        here = slice(start, start + rows)
        block, sums, counts = negatives[here], by_negative[here], by_place[:, here]
        active, too_close = torch.empty_like(block), torch.empty_like(block)
        limits = (positives[here] + below).unsqueeze(2).unbind(1)
        excluded = (positives[here] + above).unsqueeze(2).unbind(1) if above > -math.inf else ()
        for place in range(num_places):
            torch.lt(block, limits[place], out=active)
            if excluded:
                active -= torch.le(block, excluded[place], out=too_close)
            sums += active
            torch.mv(active, ones, out=counts[place])
    return by_place.T, by_negative


def _count_by_search(
    positives: Tensor, negatives: Tensor, *, above: float, below: float
) -> tuple[Tensor, Tensor]:
    """Each negative is searched among the anchor's sorted positives: log K x B x R comparisons.

    Of K limits in ascending order a negative is below those from its place on; so the limit at place q has as
    many negatives below it as have their place at q or before.
    """
    ordered, order = positives.sort(1)
    by_positive, by_negative = torch.zeros_like(positives), torch.zeros_like(negatives)
    rows = max(1, _SEARCHED // negatives.shape[1])
    for start in range(0, len(negatives), rows):
        here = slice(start, start + rows)
        block, limits = negatives[here], ordered[here]
        edges = [(limits + below, True, 1.0)]  # d_an < d_ap + below
        if above > -math.inf:
            edges.append((limits + above, False, -1.0))  # but not d_an <= d_ap + above
        for edge, is_strict, sign in edges:
            place = torch.searchsorted(edge, block, right=is_strict, out_int32=True)
            by_negative[here].sub_(place, alpha=sign).add_(sign * limits.shape[1])
            by_positive[here].add_(_at_or_before(place, limits.shape[1]), alpha=sign)
    return torch.empty_like(by_positive).scatter_(1, order, by_positive), by_negative


def _at_or_before(place: Tensor, num_places: int) -> Tensor:
    """(rows, R) places in [0, K] -> (rows, K), how many of a row are at each place or before it."""
    first = torch.arange(len(place), device=place.device).unsqueeze(1) * (num_places + 1)
    size = len(place) * (num_places + 1)
    counts = torch.bincount((place + first).flatten(), minlength=size).view(len(place), num_places + 1)
    return counts[:, :num_places].cumsum(1)


def _inner_product(weights: Tensor, distances: Tensor) -> Tensor:
    """Sum of weights times distances as exactly as the device can, in blocks of rows."""
    dtype = accumulator(distances.device)
    rows = max(1, 2**20 // distances.shape[1])
    starts = range(0, len(distances), rows)
    blocks = [(weights[at : at + rows].to(dtype) * distances[at : at + rows]).sum() for at in starts]
    return torch.stack(blocks).sum()
