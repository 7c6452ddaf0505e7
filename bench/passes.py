"""Through the backbone and back: in one piece, or in micro-batches of which the loss sees nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn

from bench.device import seed_random
from bench.distributed import World


def pieces(rows: slice, size: int) -> list[slice]:
    """Rows, `size` at a time; a last one that would stand alone, without statistics, joins the others."""
    starts = list(range(rows.start, rows.stop, size))
    if len(starts) > 1 and starts[-1] == rows.stop - 1:
        starts.pop()
    return [slice(start, stop) for start, stop in pairwise([*starts, rows.stop])]


class Passes:
    """One step's way through the backbone: forward to the embeddings, backward from the loss.

    With micro-batches the memory of one of them suffices, and the gradient is exact for every loss: all
    images go forward without a graph, the loss of the whole batch gives the gradient of each embedding, and
    then each micro-batch goes forward a second time and back from its part of that gradient (Gao et al.,
    Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, RepL4NLP 2021,
    arXiv:2101.06983v2). Dropout draws the same masks both times. Batch normalisation sees micro-batches; each
    enters the running statistics once.

    A backbone whose blocks are recomputed goes forward during the backward pass too: its running statistics
    are put back likewise.

    Args:
        backbone: the module, not wrapped for several processes.
        trained: the same, as it is called where gradients are wanted.
        embed: module, images -> raw embeddings.
        images: (b, 3, H, W), this process' share, as the backbone is fed.
        micro_batch: images at a time; None: all.
        recomputes: whether the backward pass goes forward through blocks of the backbone once more.
        seed: number of a micro-batch -> seed of what it draws.
        world: processes that train together.
    """

    def __init__(
        self,
        backbone: nn.Module,
        trained: nn.Module,
        embed: Callable[[nn.Module, Tensor], Tensor],
        images: Tensor,
        *,
        micro_batch: int | None,
        recomputes: bool = False,
        seed: Callable[[int], int],
        world: World,
    ) -> None:
        self._backbone = backbone
        self._trained = trained
        self._embed = embed
        self._images = images
        self._pieces = pieces(slice(0, len(images)), micro_batch or len(images))
        self._recomputes = recomputes
        self._seed = seed
        self._world = world
        self._embeddings: Tensor | None = None
        self._buffers: list[Tensor] | None = None

    def forward(self) -> Tensor:
        """(b, D), raw."""
        if len(self._pieces) == 1:
            embeddings = self._embed(self._trained, self._images)
            if self._recomputes:
                self._keep_buffers()
            return embeddings
        with torch.no_grad():
            parts = [self._piece(self._backbone, number) for number in range(len(self._pieces))]
        self._keep_buffers()
        self._embeddings = torch.cat(parts)
        learns = any(parameter.requires_grad for parameter in self._backbone.parameters())
        return self._embeddings.requires_grad_(learns)

    def backward(self, total: Tensor) -> None:
        """Add the gradient of the loss to that of every parameter."""
        total.backward()  # type: ignore[no-untyped-call]
        if self._embeddings is not None and self._embeddings.grad is not None:
            self._pieces_backward(self._embeddings.grad)
        if self._buffers is not None:  # the second pass has moved the running statistics once more
            with torch.no_grad():
                for buffer, kept in zip(self._backbone.buffers(), self._buffers, strict=True):
                    buffer.copy_(kept)

    def _pieces_backward(self, gradient: Tensor) -> None:
        last = len(self._pieces) - 1
        for number, rows in enumerate(self._pieces):
            # gradients are reduced over the processes once, with the last
            with self._world.apart(self._trained) if number < last else nullcontext():
                self._piece(self._trained, number).backward(gradient[rows])  # type: ignore[no-untyped-call]

    def _keep_buffers(self) -> None:
        self._buffers = [buffer.clone() for buffer in self._backbone.buffers()]

    def _piece(self, module: nn.Module, number: int) -> Tensor:
        seed_random(self._seed(number), self._images.device)
        return self._embed(module, self._images[self._pieces[number]])
