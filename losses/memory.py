"""Cross-batch memory: embeddings of earlier batches as further positives and negatives."""

from __future__ import annotations

from typing import Annotated, Protocol, runtime_checkable

import torch
from torch import Tensor

from losses.distances import normalize
from losses.loss import LOSSES, Loss, LossOutput
from losses.registry import Choice
from losses.types import NonNegative, PositiveInt


@runtime_checkable
class ComparesReferences(Protocol):
    """A loss that can compare a batch with more than itself."""

    def against(self, anchors: Tensor, labels: Tensor, references: Tensor, others: Tensor) -> LossOutput:
        """The loss of anchors (B, D) among references (R, D), both normalised, the first B the anchors."""


@LOSSES.register
class CrossBatchMemory(Loss):
    """A loss over pairs that also compares the batch with the latest embeddings of earlier batches.

    The memory is a queue. Its embeddings are as they were, without gradient: they drift little from step to
    step once the learning has settled, so let it start late.

    Args:
        embedding_dim: D.
        num_classes: C, passed on.
        loss: which one compares: triplet, contrastive, multi_similarity, sup_con or info_nce, or any loss
            with an `against` method.
        size: embeddings in the memory.
        start_epoch: before it the batch is compared with itself alone; the memory fills in any case.

    Shape:
        embeddings: (B, D), any norm, normalised here; labels: (B,) int64, any numbers; total: of the loss.
        B x (B + size) distances are held.

    Raises:
        ValueError: a loss that compares no pairs.

    Monitors: memory_filled, share of the memory in use; those of the loss.

    Source: Wang et al., Cross-Batch Memory for Embedding Learning, CVPR 2020, arXiv:1912.06798v3.
    Equation: section 3.3.
    Differs from the paper: one loss over batch and memory together; the authors' code adds a loss over the
        batch and one over the memory, in which the batch stands again.
    Checked against: the loss over the earlier batches joined by hand: test_memory_equals_joined_batches;
        gradient by finite differences (contract).
    """

    embeddings: Tensor
    labels: Tensor
    filled: Tensor
    next: Tensor

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        loss: Annotated[Choice, LOSSES] = Choice("triplet"),  # noqa: B008  (frozen)
        size: PositiveInt = 1024,
        start_epoch: NonNegative = 0.0,
    ) -> None:
        super().__init__()
        engine = {"embedding_dim": embedding_dim, "num_classes": num_classes}
        self.loss = LOSSES.build(loss.name, engine, loss.options)
        if not isinstance(self.loss, ComparesReferences):
            raise ValueError(
                f"loss must compare pairs (have an `against` method), but got {loss.name!r}; "
                "choose triplet, contrastive, multi_similarity, sup_con or info_nce"
            )
        self.start_epoch = start_epoch
        self.register_buffer("embeddings", torch.zeros(size, embedding_dim))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("filled", torch.tensor(0))
        self.register_buffer("next", torch.tensor(0))
        self.set_progress(0.0)

    def set_progress(self, epoch: float) -> None:
        """Start the memory at its epoch."""
        self.has_started = epoch >= self.start_epoch
        self.loss.set_progress(epoch)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class. In training mode the batch enters the memory afterwards."""
        self.loss.monitoring = self.monitoring
        assert isinstance(self.loss, ComparesReferences)
        unit = normalize(embeddings)
        references, others = unit, labels
        filled = int(self.filled) if self.has_started else 0
        if filled:
            references = torch.cat([unit, self.embeddings[:filled].to(unit.dtype)])
            others = torch.cat([labels, self.labels[:filled]])
        output = self.loss.against(unit, labels, references, others)
        if self.training:
            self._enqueue(unit.detach(), labels)
        if not self.monitoring:
            return output
        share = self.filled.to(unit.dtype) / len(self.labels)
        return LossOutput(output.total, output.parts, {**output.monitors, "memory_filled": share})

    @torch.no_grad()
    def _enqueue(self, unit: Tensor, labels: Tensor) -> None:
        """Replace the oldest; of a batch larger than the memory the last images stay."""
        size = len(self.labels)
        unit, labels = unit[-size:], labels[-size:]
        places = (self.next + torch.arange(len(labels), device=labels.device)) % size
        self.embeddings[places] = unit.to(self.embeddings.dtype)
        self.labels[places] = labels
        self.next.add_(len(labels)).remainder_(size)
        self.filled.add_(len(labels)).clamp_max_(size)
