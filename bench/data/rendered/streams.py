"""Random numbers that belong to one person or one picture, whatever else is drawn beside it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

# float64 (N,) while parameters are drawn; tensors of shape (N, 1, 1) while pictures are rendered.
Values = NDArray[np.float64]


class Split(IntEnum):
    """Disjoint populations: person 7 of one split has nothing in common with person 7 of another."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


class Purpose(IntEnum):
    """What a stream is for; streams of different purposes are independent."""

    IDENTITY = 0
    NUISANCE = 1
    NOISE = 2
    PAIRS = 3


def stream(
    seed: int, split: Split, purpose: Purpose, identity: int = 0, image: int = 0
) -> np.random.Generator:
    """The generator of one person or picture.

    Philox is counter-based: seed, split and purpose are the key, identity and image the upper words of the
    counter. So no stream depends on how many people or pictures were asked for, nor on who draws them.
    """
    key = np.array([seed, 16 * split + purpose], dtype=np.uint64)
    counter = np.array([0, 0, image, identity], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


class Columns:
    """Hands out independent random columns, one number per row, always in the same order.

    Args:
        streams: one generator per row.
        count: how many numbers each row may use.
        spread: width of every range around its middle; 1 leaves it, 0.5 halves it.
    """

    def __init__(self, streams: Iterable[np.random.Generator], count: int, spread: float = 1.0) -> None:
        self._numbers = np.stack([generator.random(count) for generator in streams])
        self._next = 0
        self._spread = spread

    def _column(self) -> Values:
        column: Values = self._numbers[:, self._next]
        self._next += 1
        return column

    def uniform(self, low: float, high: float) -> Values:
        """Evenly between low and high."""
        return 0.5 * (low + high) + (high - low) * self._spread * (self._column() - 0.5)

    def bell(self, low: float, high: float) -> Values:
        """Mean of three uniforms: never outside [low, high], standard deviation (high - low) / 6."""
        mean = (self._column() + self._column() + self._column()) / 3.0
        return 0.5 * (low + high) + (high - low) * self._spread * (mean - 0.5)

    def amount(self, high: float) -> Values:
        """Evenly between 0 and high, for effects that may only be absent or present."""
        return high * self._spread * self._column()

    def fraction(self) -> Values:
        """Evenly between 0 and 1 whatever the spread, for choices."""
        return self._column()

    def chance(self, probability: float | Values) -> Values:
        """1.0 with that probability, otherwise 0.0; not affected by the spread."""
        return (self._column() < probability).astype(np.float64)
