"""Learning-rate schedules by name.

A factory takes the base learning rate and the length of the training; its keyword-only options are the
configuration's. All may warm up: the rate then rises linearly to where the schedule has it.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable

from losses.registry import Registry
from losses.types import Fraction, NonNegative, NonNegativeInt, Positive

Schedule = Callable[[int], float]
"""Optimiser steps done so far -> learning rate of the next step."""

SCHEDULES: Registry[Schedule] = Registry("schedule")

_RATES = {0: 0.1, 150: 0.01, 180: 0.001, 210: 0.0001}


@SCHEDULES.register
def constant(
    rate: float, total_steps: int, epoch_steps: int, *, warmup_epochs: NonNegative = 0.0
) -> Schedule:
    """The base rate throughout, after a linear warm-up."""
    return lambda step: rate * _warmup(step, warmup_epochs * epoch_steps)


@SCHEDULES.register
def cosine(
    rate: float,
    total_steps: int,
    epoch_steps: int,
    *,
    warmup_epochs: NonNegative = 0.0,
    final: Fraction = 0.0,
) -> Schedule:
    """Half a cosine from the base rate to `final` times it (Loshchilov and Hutter 2017, arXiv 1608.03983)."""
    warmup_steps = warmup_epochs * epoch_steps

    def at(step: int) -> float:
        done = _done(step, warmup_steps, total_steps)
        return rate * _warmup(step, warmup_steps) * (final + (1 - final) * (1 + math.cos(math.pi * done)) / 2)

    return at


@SCHEDULES.register
def linear(
    rate: float,
    total_steps: int,
    epoch_steps: int,
    *,
    warmup_epochs: NonNegative = 0.0,
    final: Fraction = 0.0,
) -> Schedule:
    """A straight line from the base rate to `final` times it."""
    warmup_steps = warmup_epochs * epoch_steps

    def at(step: int) -> float:
        done = _done(step, warmup_steps, total_steps)
        return rate * _warmup(step, warmup_steps) * (1 - (1 - final) * done)

    return at


@SCHEDULES.register
def steps(
    rate: float,
    total_steps: int,
    epoch_steps: int,
    *,
    rates: dict[NonNegativeInt, Positive] = _RATES,
    warmup_epochs: NonNegative = 0.0,
) -> Schedule:
    """A rate from each given epoch on, as in facenet's schedule files.

    Args:
        rate: base rate; rates must begin with it.
        total_steps: of the training.
        epoch_steps: of an epoch.
        rates: epochs done -> learning rate from there on. facenet's line -1, which ends the training, is
            train.epochs here.
        warmup_epochs: of linear rise from 0.

    Raises:
        ValueError: no rate for epoch 0, or another than the base rate.
    """
    if 0 not in rates:
        raise ValueError(f"rates must say what holds from epoch 0 on, such as {{0: {rate:g}}}")
    if rates[0] != rate:
        raise ValueError(
            f"rates begins with {rates[0]:g}, but optimizer.learning_rate is {rate:g}; give both the same"
        )
    epochs = sorted(rates)
    starts = [epoch * epoch_steps for epoch in epochs]

    def at(step: int) -> float:
        now = rates[epochs[bisect.bisect_right(starts, step) - 1]]
        return now * _warmup(step, warmup_epochs * epoch_steps)

    return at


@SCHEDULES.register
def exponential(
    rate: float,
    total_steps: int,
    epoch_steps: int,
    *,
    factor: Fraction = 0.94,
    every_epochs: Positive = 1.0,
    staircase: bool = True,
    warmup_epochs: NonNegative = 0.0,
) -> Schedule:
    """The rate times `factor` every so many epochs, at once (facenet) or evenly in between.

    Args:
        rate: base rate.
        total_steps: of the training.
        epoch_steps: of an epoch.
        factor: facenet's learning_rate_decay_factor.
        every_epochs: facenet's learning_rate_decay_epochs.
        staircase: whether the rate stays until the epochs are over, as in facenet.
        warmup_epochs: of linear rise from 0.
    """

    def at(step: int) -> float:
        times = step / (every_epochs * epoch_steps)
        if staircase:
            times = math.floor(times + 1e-9)  # 0.3 epochs of 10 steps are 3 steps, not a little more
        return rate * float(factor**times) * _warmup(step, warmup_epochs * epoch_steps)

    return at


def _warmup(step: int, warmup_steps: float) -> float:
    """Rises linearly; the first step already moves."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else 1.0


def _done(step: int, warmup_steps: float, total_steps: int) -> float:
    """Share of the way from the end of the warm-up to the end of the training."""
    return min(1.0, max(0.0, step - warmup_steps) / max(1.0, total_steps - warmup_steps))
