"""Optimisers and learning-rate schedules by name.

An optimiser factory takes parameter groups, a schedule factory the base learning rate and the length of the
training; their keyword-only options are what a configuration may set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from losses.registry import Registry
from losses.types import Fraction, NonNegative, Positive, Probability

Groups = list[dict[str, Any]]
Schedule = Callable[[int], float]
"""Optimiser steps done so far -> learning rate of the next step."""

OPTIMIZERS: Registry[torch.optim.Optimizer] = Registry("optimizer")
SCHEDULES: Registry[Schedule] = Registry("schedule")


def parameter_groups(modules: Iterable[nn.Module], *, decay_norms: bool) -> Groups:
    """Parameters in two groups: those that weight decay shrinks, and those it leaves alone.

    Args:
        modules: backbone and loss.
        decay_norms: True shrinks everything; False spares biases and the scales of normalisation layers
            (all parameters of fewer than two dimensions).
    """
    shrunk: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad:
                (shrunk if decay_norms or parameter.ndim >= 2 else spared).append(parameter)
    groups: Groups = [{"params": shrunk}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


@OPTIMIZERS.register
def sgd(
    groups: Groups,
    *,
    learning_rate: Positive = 0.1,
    weight_decay: NonNegative = 5e-4,
    decay_norms: bool = True,
    momentum: Probability = 0.9,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    return torch.optim.SGD(
        groups, lr=learning_rate, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov
    )


@OPTIMIZERS.register
def adam(
    groups: Groups,
    *,
    learning_rate: Positive = 1e-3,
    weight_decay: NonNegative = 0.0,
    decay_norms: bool = True,
    epsilon: Positive = 1e-8,
) -> torch.optim.Optimizer:
    """Adam; its weight decay enters the gradient. facenet sets epsilon to 0.1."""
    return torch.optim.Adam(groups, lr=learning_rate, weight_decay=weight_decay, eps=epsilon)


@OPTIMIZERS.register
def adamw(
    groups: Groups,
    *,
    learning_rate: Positive = 1e-3,
    weight_decay: NonNegative = 0.05,
    decay_norms: bool = False,
    epsilon: Positive = 1e-8,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019, arXiv 1711.05101)."""
    return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, eps=epsilon)


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
        done = min(1.0, max(0.0, step - warmup_steps) / max(1.0, total_steps - warmup_steps))
        return rate * _warmup(step, warmup_steps) * (final + (1 - final) * (1 + math.cos(math.pi * done)) / 2)

    return at


def _warmup(step: int, warmup_steps: float) -> float:
    """Rises linearly; the first step already moves."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else 1.0
