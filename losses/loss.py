"""What every loss is: a module that maps embeddings and labels to a `LossOutput`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from losses.classes import ALL_CLASSES, Classes
from losses.options import check_options
from losses.registry import Registry


@dataclass(frozen=True, slots=True)
class LossOutput:
    """What a loss says of one batch.

    Args:
        total: scalar to minimise; float32, or float64 for float64 embeddings.
        parts: detached scalars that add up to `total`, each weighted as it enters it.
        monitors: detached scalars that only inform; nan where one is not defined for this batch. The names
            are the same for every batch.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    monitors: Mapping[str, Tensor] = field(default_factory=dict)


class Loss(nn.Module):
    """Base of every loss: checks the batch, leaves autocast, and calls `compute`.

    A loss of your own is a subclass with a `compute` method; `@LOSSES.register` gives it a name in
    configuration files, and its keyword-only arguments become its options:

        @LOSSES.register
        class Ring(Loss):
            '''Pull the norm of every embedding towards a radius.'''

            def __init__(self, *, radius: Positive = 1.0) -> None:
                super().__init__()
                self.radius = radius

            def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
                total = (embeddings.norm(dim=1) - self.radius).square().mean()
                return LossOutput(total, {"ring": total.detach()})

    A loss sees the whole batch: over several processes the engine gathers it, so that what a loss keeps
    between batches (centers, say) is the same everywhere.

    Attributes:
        num_classes: C where labels index classes, which are then checked; None where they only tell
            identities apart.
        classes: those whose rows this process holds; the engine sets it where several divide them.
        sample_rate: share of the classes that take part in a training step, see `taking_part`.
        class_rows: names of the parameters and buffers with one row a class, (C, ...), that `compute` reads
            through `classes` or `taking_part`. A loss that names none is held whole by every process.
        monitoring: False spares the time that monitors take; `LossOutput.monitors` is then empty.
    """

    num_classes: int | None = None
    monitoring: bool = True
    classes: Classes = ALL_CLASSES
    sample_rate: float = 1.0
    class_rows: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, *_: Any, **options: Any) -> Self:
        """Refuse options outside the bounds that their types state, here and for every subclass."""
        check_options(cls, options)
        return super().__new__(cls)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """The loss of a batch.

        Args:
            embeddings: (B, D), raw: a loss that needs unit length normalises. bfloat16 and float16 are
                computed in float32.
            labels: (B,) int64.

        Embeddings that are not finite give a total that is not finite, which training stops at.

        Raises:
            ValueError: wrong shape or type, an empty batch, or a label outside [0, C). On a GPU the last
                check waits for the device once a call; training waits at every step in any case, to see
                that the loss is finite.
        """
        check_batch(embeddings, labels, self.num_classes)
        wide = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
        if not torch.is_autocast_enabled(embeddings.device.type):
            return self.compute(wide, labels)
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.compute(wide, labels)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """The loss of a checked batch of float32 or float64 embeddings."""
        raise NotImplementedError

    def taking_part(self, labels: Tensor) -> Classes:
        """The classes of a step: `classes`, in training sampled at `sample_rate` where that is below 1."""
        if self.num_classes is None or not self.training:
            return self.classes
        return self.classes.sampled(labels, self.num_classes, self.sample_rate)

    def set_progress(self, epoch: float) -> None:
        """Told before every step how many epochs have passed (fractional): for weights that warm up.

        Whatever follows from it must follow from this number alone, so that a resumed run needs no state.
        """


def check_batch(embeddings: Tensor, labels: Tensor, num_classes: int | None) -> None:
    """Refuse what no loss can use, in one line.

    Raises:
        ValueError: see `Loss.forward`.
    """
    if embeddings.ndim != 2 or not embeddings.is_floating_point() or not embeddings.numel():
        raise ValueError(
            f"embeddings must be (B, D) and floating point with B, D >= 1, "
            f"but got {tuple(embeddings.shape)} {_name(embeddings.dtype)}"
        )
    if labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64, but got {_name(labels.dtype)}; use labels.long()")
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"labels must be ({len(embeddings)},), one an embedding, but got {tuple(labels.shape)}"
        )
    if num_classes is not None:
        lowest, highest = (int(bound) for bound in torch.stack(labels.aminmax()).tolist())
        if lowest < 0 or highest >= num_classes:
            wrong = lowest if lowest < 0 else highest
            raise ValueError(f"labels must lie in [0, {num_classes}), but got {wrong}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


LOSSES: Registry[Loss] = Registry("loss")
