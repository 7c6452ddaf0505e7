"""Which classes a process holds: all of them, or a share whose logits meet those of the others.

With a million identities the classifier is the largest part of training. Each of several processes then
holds some of its rows, and computes their logits for the whole batch; what all need of the others' are a
maximum and a sum an image. A loss knows no ranks: it is handed one of these. Not all classes have to take
part in a step (`sampling.py`): it then works with the rows of those alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.sampling import rows_of, sample_classes


def _same(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Classes [first, first + count) of `total`.

    Args:
        first: lowest class of this process.
        count: how many it holds; None: all there are.
        total: C, of all processes; of a sample, how many take part.
        spread: embeddings that all processes know -> the same, whose gradient will be the sum of what each
            process' classes ask for.
        maximum: elementwise over the processes, without gradient.
        sum: elementwise over the processes; the gradient of the sum is that of each summand.
        chosen: (k,) ascending, the rows of a table that take part, those of the labels among them; None: all.
            Logits and cosines then have k columns, which may be none where classes are divided.
    """

    first: int = 0
    count: int | None = None
    total: int | None = None
    spread: Callable[[Tensor], Tensor] = _same
    maximum: Callable[[Tensor], Tensor] = _same
    sum: Callable[[Tensor], Tensor] = _same
    chosen: Tensor | None = None

    def sampled(self, labels: Tensor, total: int, rate: float) -> Classes:
        """These classes, or those that take part in a step: all of the batch, and others at random.

        Args:
            labels: (B,) of the whole batch.
            total: C, of all processes.
            rate: share of the C classes that take part; 1: all, and nothing is drawn.
        """
        if rate == 1.0:
            return self
        part = sample_classes(labels, total, rate)
        own = part if self.count is None else part[(part >= self.first) & (part < self.first + self.count)]
        return replace(self, chosen=own - self.first, total=len(part))

    def table(self, rows: Tensor) -> Tensor:
        """Of a (count, ...) parameter, one row a class, those that take part; only they get a gradient."""
        return rows if self.chosen is None else rows_of(rows, self.chosen)

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
        """(B,) row of each label's class in a table held here; some row where it is not."""
        return labels if self.count is None else (labels - self.first).clamp(0, self.count - 1)

    def columns(self, labels: Tensor) -> Tensor:
        """(B,) column of each label's class among the logits here; some column where it is not."""
        if self.chosen is None:
            return self.rows(labels)
        return torch.searchsorted(self.chosen, self.rows(labels)).clamp(max=max(len(self.chosen) - 1, 0))

    def pick(self, values: Tensor, labels: Tensor) -> Tensor:
        """(B,) of the (B, k) here each image's own class; another's, or 0, where that is not held."""
        if not values.shape[1]:
            return values.new_zeros(len(values))
        return values.gather(1, self.columns(labels).unsqueeze(1)).squeeze(1)

    def put(self, values: Tensor, labels: Tensor, own: Tensor) -> Tensor:
        """The (B, k) values, `own` (B,) in the place of each image's own class where that is held here."""
        if not self.is_whole:  # elsewhere the value stays what it is
            own = torch.where(self.held(labels), own, self.pick(values, labels))
        if not values.shape[1]:
            return values
        return values.scatter(1, self.columns(labels).unsqueeze(1), own.unsqueeze(1))

    def highest(self, values: Tensor) -> Tensor:
        """(B,) the largest of each image's, over all processes; without gradient."""
        values = values.detach()
        own = values.amax(1) if values.shape[1] else values.new_full((len(values),), -torch.inf)
        return self.maximum(own)

    def of_labels(self, values: Tensor, labels: Tensor) -> Tensor:
        """(B,) of (B, k) each image's own class, on all processes alike."""
        own = self.pick(values, labels)
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
        logits: (B, k), of the classes that are held here and take part.
        labels: (B,) in [0, C of all).
        label_smoothing: share of the target that is spread evenly over all classes that take part.
        classes: whose logits these are.
    """
    if classes.is_whole:
        return F.cross_entropy(logits, classes.columns(labels), label_smoothing=label_smoothing)
    assert classes.total is not None
    shifted = logits - classes.highest(logits).unsqueeze(1)
    own = classes.pick(shifted, labels)
    partial = torch.stack([shifted.exp().sum(1), own.masked_fill(~classes.held(labels), 0.0), shifted.sum(1)])
    exponentials, target, everything = classes.sum(partial)
    wanted = (1.0 - label_smoothing) * target + label_smoothing / classes.total * everything
    mean: Tensor = (exponentials.log() - wanted).mean()
    return mean


@torch.no_grad()
def hit_rate(logits: Tensor, labels: Tensor, classes: Classes = ALL_CLASSES) -> Tensor:
    """Share of the batch whose largest logit is that of its label, among those that take part; detached.

    Of equal logits the first class counts where all are held here, the label's own where they are divided.
    """
    if classes.is_whole:
        return (logits.argmax(1) == classes.columns(labels)).to(logits.dtype).mean()
    hits = classes.of_labels(logits, labels) >= classes.highest(logits)
    return hits.to(logits.dtype).mean()
