"""Weights that stand still: for a while, or for good."""

from __future__ import annotations

from typing import Literal

from torch import nn

Frozen = Literal["none", "backbone", "all_but_head"]


class Freeze:
    """Keeps parts of a backbone as they are: no gradient, weight decay, BatchNorm statistics or dropout.

    Args:
        backbone: whose parts.
        what: "backbone", all of it; "all_but_head": the modules before the embedding head.
        until_step: optimiser steps after which they learn; None: never.

    Raises:
        ValueError: nobody knows which module of the backbone is its head.
    """

    def __init__(self, backbone: nn.Module, what: Frozen, *, until_step: int | None) -> None:
        self._until_step = until_step
        spared = head_modules(backbone) if what == "all_but_head" else ()
        if what == "none":
            self._modules: list[nn.Module] = []
            self._parameters: list[nn.Parameter] = []
        else:
            self._modules = [module for name, module in backbone.named_modules() if not _in(name, spared)]
            self._parameters = [
                parameter for name, parameter in backbone.named_parameters() if not _in(name, spared)
            ]
        self._is_frozen = False

    def apply(self, step: int) -> None:
        """Freeze or thaw, as is due before optimiser step number `step` (from 0)."""
        frozen = self._until_step is None or step < self._until_step
        if frozen == self._is_frozen:
            return
        self._is_frozen = frozen
        for module in self._modules:
            module.training = not frozen
        for parameter in self._parameters:
            parameter.requires_grad_(not frozen)


def head_modules(backbone: nn.Module) -> tuple[str, ...]:
    """Names of the modules that make the embedding: `head`, or what the backbone lists as `head_modules`.

    Raises:
        ValueError: it has neither.
    """
    names: tuple[str, ...] = getattr(backbone, "head_modules", ("head",))
    modules = {name for name, _ in backbone.named_modules()}
    if not modules.issuperset(names):
        raise ValueError("this backbone has no module 'head' and names none in 'head_modules'")
    return names


def _in(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)
