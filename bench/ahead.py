"""The batch of the next step, read and augmented by a second thread while this step computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from torch import Tensor

from bench.data import Batch, BatchSource, Counted, Embed
from bench.threads import one_thread_beside


@dataclass(frozen=True, eq=False)
class Ready:
    """What the first pass of a step needs.

    Args:
        batch: the global batch.
        images: (b, 3, H, W) float32, this process' share, as the backbone is fed.
        labels: (B,) int64, of the global batch.
    """

    batch: Batch
    images: Tensor
    labels: Tensor


class Ahead:
    """Takes batches from a source; of one that is `Counted` the next is prepared meanwhile.

    Nothing else changes: a batch and its augmentation follow from its number, no thread draws torch's random
    numbers, and the source counts a batch when it is taken, so that a checkpoint says what has been trained
    on. Other sources may choose by the weights of the moment and are asked when the batch is due.

    To be entered: leaving waits for the thread. The images of a batch are good for its step alone: their
    memory is written anew for a later one, for the system takes its time to give out so large a piece.

    Args:
        source: of the batches.
        prepare: reads and augments one, called by one thread at a time; may put its images in the place of
            those that it is given, of a batch that is done with.
        beside: False prepares each batch when it is due.
    """

    def __init__(
        self, source: BatchSource, prepare: Callable[[Batch, Tensor | None], Ready], *, beside: bool = True
    ) -> None:
        self._source = source
        self._prepare = prepare
        self._thread = one_thread_beside("bench-batches") if beside else None
        self._next: Future[Ready] | None = None
        self._in_use: Tensor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread:
            self._thread.shutdown(cancel_futures=True)

    def take(self, embed: Embed, *, more: bool) -> Ready:
        """The next batch.

        Args:
            embed: for sources that select by distance.
            more: whether another will be taken after it.

        Raises:
            BenchError: an image of this batch cannot be read.
        """
        source = self._source
        place, self._in_use = self._in_use, None
        if self._thread is None or not isinstance(source, Counted):
            ready = self._prepare(source.next(embed), place)
        else:
            due, self._next = self._next, None
            if due:
                ready = due.result()
            else:
                ready, place = self._prepare(source.batch(source.number), place), None
            source.number += 1
            if more:
                self._next = self._thread.submit(self._prepare_number, source, source.number, place)
        self._in_use = ready.images
        return ready

    def _prepare_number(self, source: Counted, number: int, place: Tensor | None) -> Ready:
        return self._prepare(source.batch(number), place)
