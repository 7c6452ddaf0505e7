"""A loss whose classes are divided among the processes: each holds, and saves, its rows of them.

A checkpoint holds all rows in their order, as that of one process does, so that a run goes on with any number
of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.distributed import World
from bench.errors import UserError
from losses import Loss

# From here on a classifier costs more than a batch: without shards processes exchange the gradient of C rows.
MANY_CLASSES = 10_000


class Shards:
    """Which tensors of a loss have one row a class, and what part of them is held here.

    Args:
        loss: built whole, from the same seed everywhere; its tables are cut here.
        world: processes that train together.
        wanted: divide, or do not; None: from `MANY_CLASSES` on.

    Raises:
        UserError: fewer classes than processes.
    """

    def __init__(self, loss: Loss, world: World, *, wanted: bool | None) -> None:
        self._world = world
        # name in the state of the loss -> where it hangs: a move to a GPU makes buffers anew
        self._tables: dict[str, tuple[nn.Module, str]] = {}
        if world.size == 1 or wanted is False:
            return
        for prefix, module in loss.named_modules():
            if not isinstance(module, Loss) or not module.class_rows or module.num_classes is None:
                continue
            if wanted or module.num_classes >= MANY_CLASSES:
                self._cut(f"{prefix}." if prefix else "", module, module.num_classes)

    @property
    def is_divided(self) -> bool:
        """Whether saving takes all processes."""
        return bool(self._tables)

    def holds(self, tensor: Tensor) -> bool:
        """Whether the others hold other rows of it."""
        return any(tensor is getattr(owner, leaf) for owner, leaf in self._tables.values())

    def checking(self, check: Callable[[], None]) -> Callable[[], None]:
        """When an evaluation may be left: never by one process where all must then save together."""
        return (lambda: None) if self.is_divided else check

    def total_norm(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Of the whole gradient: every process' rows count, and what all hold counts once."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not self.is_divided:
            return torch.nn.utils.get_total_norm(gradients)
        shared: list[Tensor] = []
        own: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is not None:
                (own if self.holds(parameter) else shared).append(parameter.grad)
        square = torch.nn.utils.get_total_norm(own).square()
        return (self._world.sum(square) + torch.nn.utils.get_total_norm(shared).square()).sqrt()

    def gather(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of a loss with the rows of all; every process has to ask."""
        return {
            name: self._world.gather_rows(value) if name in self._tables else value
            for name, value in state.items()
        }

    def cut(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """This process' part of a whole state."""
        return {
            name: self._part(value).clone() if name in self._tables else value
            for name, value in state.items()
        }

    def gather_optimizer(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The state of an optimiser with the rows of all; every process has to ask."""
        state = optimizer.state_dict()
        return self._mapped(optimizer, state, self._world.gather_rows) if self._tables else state

    def cut_optimizer(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        """This process' part of a whole state."""
        return self._mapped(optimizer, state, self._part) if self._tables else state

    def _mapped(self, optimizer: torch.optim.Optimizer, state: dict[str, Any], change: Any) -> dict[str, Any]:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        changed = dict(state["state"])
        for number, values in changed.items():
            parameter = parameters[number]
            if self.holds(parameter):
                changed[number] = {
                    # a step count is one number; what has as many dimensions as the parameter has its rows
                    name: change(value)
                    if isinstance(value, Tensor) and value.ndim == parameter.ndim
                    else value
                    for name, value in values.items()
                }
        return {**state, "state": changed}

    def _cut(self, prefix: str, module: Loss, total: int) -> None:
        if total < self._world.size:
            raise UserError(
                f"runtime.shard_classes: {total} classes cannot be divided among {self._world.size} "
                "processes; set runtime.shard_classes=false"
            )
        module.classes = self._world.classes(total)
        for name in module.class_rows:
            path, _, leaf = name.rpartition(".")
            owner = module.get_submodule(path)
            table: Tensor | None = getattr(owner, leaf)
            if table is None:  # no bias
                continue
            if isinstance(table, nn.Parameter):
                table.data = self._part(table.data).clone()
            else:
                setattr(owner, leaf, self._part(table).clone())
            self._tables[prefix + name] = (owner, leaf)

    def _part(self, rows: Tensor) -> Tensor:
        return rows[self._world.rows_of(len(rows))]
