"""Which images make up each training batch.

The sources here are functions of (seed, batch number): their whole state is that number, all processes
compute the same global batch, and a resumed run draws exactly what an uninterrupted one would have drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import UserError
from losses.registry import Registry
from losses.types import PositiveInt

Indices = NDArray[np.int64]
_AT_ONCE = 64  # seeds


class Embed(Protocol):
    """Embeds training images by the current weights, forward only: for sources that select by distance."""

    def __call__(
        self, indices: Indices, *, batch_size: int, training: bool = False, number: int = 0
    ) -> torch.Tensor:
        """Raw embeddings (N, D), on the device.

        Args:
            indices: (N,) of the images.
            batch_size: images at a time; in training mode they are normalised together. A last image that
                would stand alone joins the batch before.
            training: True embeds as a training step would: augmented, with dropout and statistics of the
                batch, which enter the running ones. False: as they are, in evaluation mode.
            number: seeds the augmentation; each selection has its own.
        """
        ...


@dataclass(frozen=True, eq=False)
class Batch:
    """One global batch.

    Args:
        number: counts batches from 0; seeds the batch's augmentation.
        indices: (B,) int64 into the training images.
    """

    number: int
    indices: Indices


class BatchSource(Protocol):
    """What the training loop pulls its batches from.

    `size` is the number of images of a global batch. `state_dict` holds all that the next batches depend on.
    A source whose rows are anchor, positive, negative, anchor, ... says so by `gives_triplets = True`.
    """

    size: int

    def next(self, embed: Embed) -> Batch:
        """The next global batch; `embed` is called only by sources that select by distance."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything the following batches depend on; plain numbers and tensors."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        ...


BATCHES: Registry[BatchSource] = Registry("batch source")


class Draw(IntEnum):
    """What random numbers are for: equal counters of different uses give unrelated streams."""

    ORDER = 0
    IMAGES = 1
    AUGMENTATION = 2
    SELECTION = 3
    FORWARD = 4
    LOSS = 5


def stream(seed: int, draw: Draw, counter: int) -> np.random.Generator:
    """Random numbers that depend on the arguments alone, never on what was drawn before."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, draw, counter])))


def torch_seed(seed: int, draw: Draw, counter: int, rank: int = 0, *part: int) -> int:
    """A seed for torch: what it draws next depends on the arguments alone, as with `stream`."""
    return int(np.random.SeedSequence([seed, draw, counter, rank, *part]).generate_state(1, np.uint64)[0])


def step_seed(seed: int, draw: Draw, step: int, rank: int = 0) -> int:
    """`torch_seed` of a step, at a tenth of its cost where steps follow each other."""
    return _step_seeds(seed, draw, step // _AT_ONCE, rank)[step % _AT_ONCE]


@lru_cache(maxsize=8)
def _step_seeds(seed: int, draw: Draw, block: int, rank: int) -> list[int]:
    # A call whose code the convolutions of a step have pushed out of the cache takes 15 times as long.
    return [torch_seed(seed, draw, step, rank) for step in range(block * _AT_ONCE, (block + 1) * _AT_ONCE)]


def images_of_people(labels: Indices) -> list[Indices]:
    """The images of each person, in order of their labels."""
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    return np.split(order, starts[1:])


class Counted:
    """A source whose batches follow from their numbers alone: any can be drawn before it is due.

    All sources here are; their whole state is how many batches were taken.
    """

    def __init__(self) -> None:
        self.number = 0

    def batch(self, number: int) -> Batch:
        """Batch `number`, counted from 0; changes nothing that a batch depends on."""
        raise NotImplementedError

    def next(self, embed: Embed) -> Batch:
        """The next batch; `embed` is not called."""
        batch = self.batch(self.number)
        self.number += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """How many batches were taken."""
        return {"number": self.number}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after so many."""
        self.number = int(state["number"])


@BATCHES.register
class Random(Counted):
    """Images in random order: each once a pass, an incomplete last batch is left out of the pass.

    Args:
        labels: (N,) identity of each image.
        seed: of the order.
        size: B, images a batch.

    Raises:
        UserError: fewer images than one batch needs.
    """

    def __init__(self, labels: Indices, seed: int, *, size: PositiveInt = 128) -> None:
        super().__init__()
        if size > len(labels):
            raise UserError(f"batch.size: {size} images a batch, but the training set has {len(labels)}")
        self.size = size
        self._count = len(labels)
        self._seed = seed
        self._pass = -1
        self._order = np.empty(0, np.int64)

    def batch(self, number: int) -> Batch:
        """`size` images of its pass."""
        pass_number, position = divmod(number, self._count // self.size)
        if pass_number != self._pass:
            self._order = stream(self._seed, Draw.ORDER, pass_number).permutation(self._count)
            self._pass = pass_number
        return Batch(number, self._order[position * self.size : (position + 1) * self.size])


@BATCHES.register
class PK(Counted):
    """P people x K images of each, as batch-mining losses want them (Hermans et al. 2017, arXiv 1703.07737).

    People come in random order, each once a pass, however many images they have; a person's K images are
    drawn without replacement.

    Args:
        labels: (N,) identity of each image.
        seed: of people and images.
        people: P.
        images: K, at least 2 for losses that need positives.
        min_images: people with fewer take no part; null: K. Below K, people with fewer than K images show
            some of them more than once in a batch: in sets with a long tail most people have few.

    Raises:
        UserError: fewer than P people have that many images.
    """

    def __init__(
        self,
        labels: Indices,
        seed: int,
        *,
        people: PositiveInt = 32,
        images: PositiveInt = 4,
        min_images: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        fewest = images if min_images is None else min_images
        self._images_of = [own for own in images_of_people(labels) if len(own) >= fewest]
        if len(self._images_of) < people:
            lower = "batch.people, batch.images or batch.min_images"
            raise UserError(
                f"batch.people: {people} people x {images} images a batch, but only {len(self._images_of)} "
                f"people of the training set have {fewest} images; lower {lower}"
            )
        self.size = people * images
        self._people = people
        self._images = images
        self._seed = seed

    def batch(self, number: int) -> Batch:
        """P people of its pass, K images of each, grouped by person."""
        pass_number, position = divmod(number, len(self._images_of) // self._people)
        order = stream(self._seed, Draw.ORDER, pass_number).permutation(len(self._images_of))
        draw = stream(self._seed, Draw.IMAGES, number)
        chosen = order[position * self._people : (position + 1) * self._people]
        rows = [self._draw(self._images_of[person], draw) for person in chosen]
        return Batch(number, np.concatenate(rows))

    def _draw(self, own: Indices, draw: np.random.Generator) -> Indices:
        """K images of one person: all different where there are so many, else each about equally often."""
        if len(own) >= self._images:
            return draw.choice(own, self._images, replace=False)
        return np.resize(draw.permutation(own), self._images)


@BATCHES.register
class Balanced(Counted):
    """Every person equally often, however many images they have: a random image of each in turn.

    People come in random order, each once a pass; passes follow each other without a gap. An image of a
    person with few images is seen more often than one of a person with many.

    Args:
        labels: (N,) identity of each image.
        seed: of people and images.
        size: B, images a batch.
    """

    def __init__(self, labels: Indices, seed: int, *, size: PositiveInt = 128) -> None:
        super().__init__()
        self.size = size
        self._seed = seed
        self._images_of = images_of_people(labels)

    def batch(self, number: int) -> Batch:
        """One image of each of `size` people."""
        turns = np.arange(number * self.size, (number + 1) * self.size)
        pass_numbers, positions = np.divmod(turns, len(self._images_of))
        people = np.concatenate(
            [
                stream(self._seed, Draw.ORDER, int(pass_number)).permutation(len(self._images_of))[
                    positions[pass_numbers == pass_number]
                ]
                for pass_number in np.unique(pass_numbers)
            ]
        )
        chances = stream(self._seed, Draw.IMAGES, number).random(self.size)
        rows = [
            self._images_of[person][int(chance * len(self._images_of[person]))]
            for person, chance in zip(people, chances, strict=True)
        ]
        return Batch(number, np.array(rows, np.int64))
