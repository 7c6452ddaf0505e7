"""Miners: which triplets of a batch a loss looks at.

A miner sees all distances from B anchors to R references and names triplets. Miners whose triplets are few
name them one by one; the two that take every triplet of a kind name the kind, because B = 1800 images of 45
people already hold 123 million triplets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from losses.registry import Registry

BLOCK = 65_536  # entries of a distance matrix that stay in a CPU's cache with what is made of them
_SORTED = 4 * BLOCK  # entries that are sorted at once: smaller lists spill less, larger ones cost fewer calls
_AWAY = 8.0  # farther than any two points of a sphere of radius 1, squared or not
_MANY_LIMITS = 32  # from here on sorting the negatives beats comparing them with one limit after another


@dataclass(frozen=True)
class Comparison:
    """All anchors against all references.

    Args:
        distances: (B, R). Reference j < B is anchor j itself; the others, if any, are of earlier batches.
        labels: (B,) of the anchors.
        reference_labels: (R,); the first B are `labels`.
        alpha: margin of the loss, in units of the distances; 0 where it has none.
        squared: whether the distances are squared.
        embedding_dim: D.
    """

    distances: Tensor
    labels: Tensor
    reference_labels: Tensor
    alpha: float
    squared: bool
    embedding_dim: int

    @cached_property
    def same_identity(self) -> Tensor:
        """(B, K) columns of every reference of the anchor's identity, itself among them.

        Shorter lists are filled up with the anchor itself.
        """
        ordered, order = self.reference_labels.sort(stable=True)
        start = torch.searchsorted(ordered, self.labels)
        count = torch.searchsorted(ordered, self.labels, right=True) - start
        place = torch.arange(int(count.max()), device=order.device)
        found = order[(start.unsqueeze(1) + place).clamp_max_(len(order) - 1)]
        return torch.where(place < count.unsqueeze(1), found, self._itself())

    @cached_property
    def is_positive(self) -> Tensor:
        """(B, K), False where `same_identity` holds the anchor itself."""
        return self.same_identity != self._itself()

    @property
    def is_later(self) -> Tensor:
        """(B, K), True where `same_identity` holds a reference after the anchor: each pair in one order."""
        return self.same_identity > self._itself()

    def _itself(self) -> Tensor:
        return torch.arange(len(self.labels), device=self.labels.device).unsqueeze(1)

    def positive_distances(self, fill: float) -> Tensor:
        """(B, K), `fill` where `is_positive` is False."""
        found = self.distances.gather(1, self.same_identity)
        return found.masked_fill(~self.is_positive, fill)

    def negative_distances(self, fill: float) -> Tensor:
        """(B, R), `fill` at the anchor's own identity."""
        return self.distances.scatter(1, self.same_identity, fill)

    def positive_mask(self) -> Tensor:
        """(B, R), True at the positives."""
        nobody = torch.zeros_like(self.distances, dtype=torch.bool)
        return nobody.scatter_(1, self.same_identity, self.is_positive)

    def negative_mask(self) -> Tensor:
        """(B, R), True at other identities."""
        everyone = torch.ones_like(self.distances, dtype=torch.bool)
        return everyone.scatter_(1, self.same_identity, False)


@dataclass(frozen=True, slots=True)
class Triplets:
    """Named one by one.

    Args:
        anchor: (N,) rows of the comparison.
        positive: (N,) columns.
        negative: (N,) columns.
        candidates: how many the miner chose from: anchors, or anchor-positive pairs.
        one_each: `anchor` is 0, 1, ..., B - 1, so that nobody needs to look rows up by it.
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor
    candidates: int
    one_each: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """Every triplet with `above < d_an - d_ap < below`."""

    above: float = -math.inf
    below: float = math.inf


Miner = Callable[[Comparison], Triplets | Band]
MINERS: Registry[Triplets | Band] = Registry("mining")


def compare(
    distances: Tensor,
    labels: Tensor,
    reference_labels: Tensor,
    *,
    squared: bool,
    embedding_dim: int,
    alpha: float = 0.0,
) -> Comparison:
    """A `Comparison`, which see; a loss without a margin names none."""
    return Comparison(distances, labels, reference_labels, alpha, squared, embedding_dim)


@MINERS.named("all")
def all_triplets(_: Comparison) -> Band:
    """Every triplet (batch-all)."""
    return Band()


@MINERS.register
def semi_hard_all(comparison: Comparison) -> Band:
    """Every triplet with d_ap < d_an < d_ap + alpha (pytorch-metric-learning's semihard)."""
    return Band(above=0.0, below=comparison.alpha)


@MINERS.register
def hard(comparison: Comparison) -> Triplets:
    """For each anchor its farthest positive and its closest negative (batch-hard)."""
    few = comparison.distances.numel() <= BLOCK
    farthest, positive, closest, negative = (_hardest_by_masks if few else _hardest_by_lists)(comparison)
    is_anchor = farthest - closest > -math.inf  # it has both
    if bool(is_anchor.all()):
        everyone = torch.arange(len(positive), device=positive.device)
        return Triplets(everyone, positive, negative, len(positive), one_each=True)
    anchor = is_anchor.nonzero().squeeze(1)
    return Triplets(anchor, positive[anchor], negative[anchor], len(anchor))


def _hardest_by_masks(comparison: Comparison) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Farthest positive and closest negative, distance and column: in small batches the fewest operations."""
    same = comparison.labels.unsqueeze(1) == comparison.reference_labels
    farthest, positive = comparison.distances.masked_fill(~same, -math.inf).fill_diagonal_(-math.inf).max(1)
    closest, negative = comparison.distances.masked_fill(same, math.inf).min(1)
    return farthest, positive, closest, negative


def _hardest_by_lists(comparison: Comparison) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same without a B x R mask."""
    farthest, place = comparison.positive_distances(-math.inf).max(1)
    closest, negative = comparison.negative_distances(math.inf).min(1)
    positive = comparison.same_identity.gather(1, place.unsqueeze(1)).squeeze(1)
    return farthest, positive, closest, negative


@MINERS.register
def semi_hard(comparison: Comparison) -> Triplets:
    """For each anchor-positive the closest negative with d_ap < d_an < d_ap + alpha, if any (FaceNet)."""
    positives = comparison.positive_distances(math.inf)
    found, negative = _next_farther(comparison, positives)
    return _one_each(comparison, negative, found < positives + comparison.alpha)


@MINERS.register
def easy_positive(comparison: Comparison) -> Triplets:
    """For each anchor its closest positive and the closest negative beyond it, if any (EPSHN)."""
    closest, place = comparison.positive_distances(math.inf).min(1, keepdim=True)
    found, negative = _next_farther(comparison, closest)
    anchor = ((closest < math.inf) & (found < math.inf)).squeeze(1).nonzero().squeeze(1)
    positive = comparison.same_identity.gather(1, place)[anchor, 0]
    return Triplets(anchor, positive, negative[anchor, 0], int((closest < math.inf).sum()))


@MINERS.register
def violating(comparison: Comparison) -> Triplets:
    """For each anchor-positive one negative at random among those with d_an < d_ap + alpha (facenet)."""
    return draw_violators(comparison, comparison.is_positive)


def draw_violators(comparison: Comparison, pairs: Tensor) -> Triplets:
    """`violating` for some pairs: (B, K), True where that place of `same_identity` wants a negative."""
    own = comparison.same_identity
    limits = torch.where(pairs, comparison.distances.gather(1, own) + comparison.alpha, 0.0)
    shares = torch.rand(limits.shape, device=limits.device)
    num_references = comparison.distances.shape[1]
    rows = max(1, len(own) if own.is_cuda else _SORTED // num_references)
    blocks = (slice(first, first + rows) for first in range(0, len(own), rows))
    wholes = (comparison.distances, own, limits, shares)
    negative = torch.cat([_violators(*(whole[block] for whole in wholes)) for block in blocks])
    anchor, place = (negative >= 0).nonzero(as_tuple=True)
    return Triplets(anchor, own[anchor, place], negative[anchor, place], int(pairs.sum()))


def _violators(distances: Tensor, own: Tensor, limits: Tensor, shares: Tensor) -> Tensor:
    """(B, K) columns of one negative below each limit; -1 where there is none.

    Only what is below the largest limit of an anchor is looked at. Listed anchor after anchor and by
    distance, it holds the negatives below each of its limits at the start of its part. The list is sorted
    by whole numbers, which takes torch a fraction of the time of many rows of floats: the bits of a float32
    that is not negative, read as a whole number, are in its order.
    """
    num_references = distances.shape[1]
    anchors = torch.arange(len(own), device=own.device).unsqueeze(1)
    is_near = (distances < limits.amax(1, keepdim=True)).scatter_(1, own, False)
    near = is_near.flatten().nonzero().squeeze(1)
    start = torch.searchsorted(near, anchors * num_references)

    def keys(anchor: Tensor, values: Tensor) -> Tensor:
        return (anchor << 32) + values.float().view(torch.int32)

    ordered, order = keys(near // num_references, distances.flatten()[near]).sort()
    counts = torch.searchsorted(ordered, keys(anchors, limits)) - start
    is_found = counts > 0
    chosen = (start + _below(counts, shares))[is_found]
    negative = torch.full_like(own, -1)
    negative[is_found] = near[order[chosen]] % num_references
    return negative


@MINERS.register
def random(comparison: Comparison) -> Triplets:
    """For each anchor-positive one negative at random."""
    is_negative = comparison.negative_mask()
    counts = is_negative.sum(1, keepdim=True)
    columns = is_negative.nonzero()[:, 1]  # anchor after anchor
    chosen = _random_below(counts.expand_as(comparison.is_positive)) + counts.cumsum(0) - counts
    negative = columns[chosen.clamp_max(max(len(columns) - 1, 0))] if len(columns) else chosen
    return _one_each(comparison, negative, counts > 0)


@MINERS.register
def distance_weighted(comparison: Comparison) -> Triplets:
    """For each anchor-positive one negative drawn so that all distances are equally likely (Wu et al.)."""
    distances = comparison.distances.sqrt() if comparison.squared else comparison.distances
    is_negative = comparison.negative_mask()
    # 1 / q(d), the density of distances on the sphere, as logarithm; cut at 0.5 against noise, and at 1.4
    # because what is farther than a right angle gives no gradient
    dim = comparison.embedding_dim
    lengths = distances.clamp_min(0.5)
    weights = (2.0 - dim) * lengths.log() - (dim - 3.0) / 2.0 * torch.log1p(-lengths.square() / 4.0)
    weights = weights.masked_fill(~is_negative | (distances >= 1.4), -math.inf).softmax(1)
    # an anchor with no negative that near: any negative, alike
    weights = torch.where(weights.isnan(), is_negative.to(weights.dtype), weights)
    possible = is_negative.any(1, keepdim=True)
    weights = torch.where(possible, weights, 1.0)
    negative = torch.multinomial(weights, comparison.is_positive.shape[1], replacement=True)
    return _one_each(comparison, negative, possible)


@MINERS.register
def given(comparison: Comparison) -> Triplets:
    """Rows 0 to 2, 3 to 5, ...: anchor, positive, negative; three rows that are none are passed over."""
    count = len(comparison.distances) // 3
    anchor = torch.arange(count, device=comparison.distances.device) * 3
    own = comparison.same_identity[anchor]
    positive, negative = anchor + 1, anchor + 2
    is_triplet = (own == positive.unsqueeze(1)).any(1) & ~(own == negative.unsqueeze(1)).any(1)
    return Triplets(anchor[is_triplet], positive[is_triplet], negative[is_triplet], count)


def _next_farther(comparison: Comparison, limits: Tensor) -> tuple[Tensor, Tensor]:
    """For each limit (B, L) the closest negative beyond it: distances, inf if there is none, and columns."""
    negatives = comparison.negative_distances(math.inf)
    if limits.shape[1] > _MANY_LIMITS:
        return _next_by_sorting(negatives, limits)
    return _next_by_comparison(negatives, limits)


def _next_by_sorting(negatives: Tensor, limits: Tensor) -> tuple[Tensor, Tensor]:
    distances, order = negatives.sort(1)
    # the anchor itself is last, at inf: beyond every limit but that of a filler
    place = torch.searchsorted(distances, limits, right=True).clamp_max_(distances.shape[1] - 1)
    return distances.gather(1, place), order.gather(1, place)


def _next_by_comparison(negatives: Tensor, limits: Tensor) -> tuple[Tensor, Tensor]:
    """One limit of every anchor at a time is compared with all references, in blocks of rows."""
    num_limits = limits.shape[1]
    found = negatives.new_empty(num_limits, len(negatives))
    columns = torch.empty_like(found, dtype=torch.long)
    rows = len(negatives) if negatives.is_cuda else max(1, BLOCK // negatives.shape[1])
    for start in range(0, len(negatives), rows):
        here = slice(start, start + rows)
        block = negatives[here]
        too_close, beyond = torch.empty_like(block), torch.empty_like(block)
        for place, limit in enumerate(limits[here].unsqueeze(2).unbind(1)):
            # Arithmetic, for it is half as slow as a choice by a mask of truth values.
            torch.le(block, limit, out=too_close)
            torch.add(block, too_close, alpha=_AWAY, out=beyond)
            torch.min(beyond, 1, out=(found[place, here], columns[place, here]))
    return found.masked_fill_(found >= _AWAY, math.inf).T, columns.T


def _random_below(counts: Tensor) -> Tensor:
    """A whole number in [0, count) each, from the global generator of the device; 0 for a count of 0."""
    return _below(counts, torch.rand(counts.shape, device=counts.device))


def _below(counts: Tensor, shares: Tensor) -> Tensor:
    return torch.minimum((shares * counts).long(), (counts - 1).clamp_min(0))


def _one_each(comparison: Comparison, negative: Tensor, is_found: Tensor) -> Triplets:
    """One negative (B, K) for each anchor-positive pair for which one was found."""
    anchor, place = (comparison.is_positive & is_found).nonzero(as_tuple=True)
    positive = comparison.same_identity[anchor, place]
    return Triplets(anchor, positive, negative[anchor, place], int(comparison.is_positive.sum()))
