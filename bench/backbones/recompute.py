"""Activation checkpointing: a block keeps its input alone and is computed once more on the way back."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recompute(backbone: nn.Module) -> None:
    """Let the blocks of a backbone drop what they computed until the backward pass needs it.

    Dropout draws the same masks both times. Running statistics move in the second pass too: whoever calls
    backward puts them back (bench/passes.py).

    A backbone names its blocks in `recomputed_modules`: modules that together hold nearly all activations,
    each called once a pass with one tensor. Networks of timm (and whatever else has `set_grad_checkpointing`)
    know their own.

    Args:
        backbone: changed in place; names of parameters stay.

    Raises:
        ValueError: it does neither.

    Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174v2, section 4.
    """
    names: tuple[str, ...] = getattr(backbone, "recomputed_modules", ())
    for name in names:
        block = backbone.get_submodule(name)
        block.forward = functools.partial(_recomputed, block.forward)
    if names:
        return
    switch = getattr(getattr(backbone, "network", backbone), "set_grad_checkpointing", None)
    if switch is None:
        raise ValueError("it names no blocks in 'recomputed_modules'")
    try:
        switch(True)
    except AssertionError:  # what networks of timm say that cannot
        raise ValueError("timm has no activation checkpointing for it") from None


def _recomputed(forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return forward(inputs)
    outputs: Tensor = checkpoint(forward, inputs, use_reentrant=False)
    return outputs
