"""What a run tells while it goes on. The command line draws it; a library user hears nothing by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Receives the news of one run."""

    def stage(self, text: str) -> None:
        """A new phase begins: "data", "training", "evaluating rendered"."""
        ...

    def note(self, text: str) -> None:
        """Something is worth a line that stays: a warning, a problem with tracking. From any thread."""
        ...

    def step(self, step: int, total_steps: int, images_per_s: float, loss: float) -> None:
        """`step` optimiser steps of `total_steps` are done."""
        ...

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """The validation protocol was evaluated after `step`.

        Raises:
            Pruned: the run is to end here, with a checkpoint, as KILLED.
        """
        ...


class Quiet:
    """Says nothing."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def step(self, step: int, total_steps: int, images_per_s: float, loss: float) -> None:
        """Nothing."""

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Nothing."""


class Counting(Protocol):
    """Receives how far a long job over many files has come."""

    def count(self, done: int, total: int, per_s: float, news: str) -> None:
        """`done` of `total` files are done, `per_s` a second; `news` is a few words on how it goes.

        `per_s` is 0 until it is known.
        """
        ...


class Uncounted:
    """Says nothing."""

    def count(self, done: int, total: int, per_s: float, news: str) -> None:
        """Nothing."""
