"""Which classes a process holds: all of them, or a share whose logits meet those of the others.

With a million identities the classifier is the largest part of training. Each of several processes then
holds some of its rows, and computes their logits for the whole batch; what all need of the others' are a
maximum and a sum an image. A loss knows no ranks: it is handed one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def _same(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Classes [first, first + count) of `total`.

    Args:
        first: lowest class of this process.
        count: how many it holds; None: all there are.
        total: C, of all processes.
        spread: embeddings that all processes know -> the same, whose gradient will be the sum of what each
            process' classes ask for.
        maximum: elementwise over the processes, without gradient.
        sum: elementwise over the processes; the gradient of the sum is that of each summand.
    """

    first: int = 0
    count: int | None = None
    total: int | None = None
    spread: Callable[[Tensor], Tensor] = _same
    maximum: Callable[[Tensor], Tensor] = _same
    sum: Callable[[Tensor], Tensor] = _same

    @property
    def is_whole(self) -> bool:
        """Whether this process holds all."""
        return self.count is None

    def held(self, labels: Tensor) -> Tensor:
        """(B,) whether the class of that label is held here."""
        if self.count is None:
            return torch.ones_like(labels, dtype=torch.bool)
        return (labels >= self.first) & (labels < self.first + self.count)

    def rows(self, labels: Tensor) -> Tensor:
        """(B,) row of each label's class among those held; some row where it is not."""
        return labels if self.count is None else (labels - self.first).clamp(0, self.count - 1)

    def of_labels(self, values: Tensor, labels: Tensor) -> Tensor:
        """(B,) of (B, count) each image's own class, on all processes alike."""
        own = values.gather(1, self.rows(labels).unsqueeze(1)).squeeze(1)
        return own if self.is_whole else self.sum(own.masked_fill(~self.held(labels), 0.0))

    def take(self, table: Tensor, labels: Tensor) -> Tensor:
        """(B, D) rows of a (count, D) table, one a class: those of the labels, on all processes alike."""
        own = table[self.rows(labels)]
        return own if self.is_whole else self.sum(own.masked_fill(~self.held(labels).unsqueeze(1), 0.0))


ALL_CLASSES = Classes()


def cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, classes: Classes = ALL_CLASSES
) -> Tensor:
    """Mean cross entropy in nats: over several processes by a maximum and a sum of three numbers an image.

    Args:
        logits: (B, C), of the classes held here.
        labels: (B,) in [0, C of all).
        label_smoothing: share of the target that is spread evenly over all classes.
        classes: whose logits these are.
    """
    if classes.is_whole:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    assert classes.total is not None
    highest = classes.maximum(logits.detach().amax(1))
    shifted = logits - highest.unsqueeze(1)
    own = shifted.gather(1, classes.rows(labels).unsqueeze(1)).squeeze(1)
    partial = torch.stack([shifted.exp().sum(1), own.masked_fill(~classes.held(labels), 0.0), shifted.sum(1)])
    exponentials, target, everything = classes.sum(partial)
    wanted = (1.0 - label_smoothing) * target + label_smoothing / classes.total * everything
    mean: Tensor = (exponentials.log() - wanted).mean()
    return mean


@torch.no_grad()
def hit_rate(logits: Tensor, labels: Tensor, classes: Classes = ALL_CLASSES) -> Tensor:
    """Share of the batch whose largest logit is that of its label; detached.

    Of equal logits the first class counts where all are held here, the label's own where they are divided.
    """
    if classes.is_whole:
        return (logits.argmax(1) == labels).to(logits.dtype).mean()
    hits = classes.of_labels(logits, labels) >= classes.maximum(logits.amax(1))
    return hits.to(logits.dtype).mean()
