"""Gradients that hold some rows of a table, and the optimiser step that moves these rows alone.

With sampled classes (losses/sampling.py) the gradient of a classifier is sparse. A row that takes no part in
a step stays as it is: no weight decay, no momentum of earlier steps, and its own averages wait. So do the
authors of Partial FC in their first code, with the momentum of SGD and the averages of AdamW (insightface,
recognition/arcface_torch/partial_fc.py); in their later one, partial_fc_v2.py, the optimiser gets a whole
table of gradients, most of them zero, and moves all rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def gradient_values(gradient: Tensor) -> Tensor:
    """What there is of a gradient as one dense tensor, not copied."""
    return gradient._values() if gradient.is_sparse else gradient


@torch.no_grad()
def step(optimizer: Optimizer) -> None:
    """`optimizer.step()`, but of a table with a sparse gradient only the rows in it are touched.

    The optimiser is handed those rows, with their part of its state, in the table's place: what it computes
    for a row is what it would compute in a whole table. A count of steps is one for the table, as in torch's
    SparseAdam. State of a table's shape must start at zero or be there from the beginning.

    Args:
        optimizer: any that treats each number of a parameter by itself.
    """
    lent = [_lend_rows(optimizer, group["params"], place) for group, place in _sparse(optimizer)]
    optimizer.step()
    for part in lent:
        _take_back(optimizer, *part)


Lent = tuple[list[Tensor], int, Tensor, dict[str, Any], Tensor, Tensor]


def _sparse(optimizer: Optimizer) -> list[tuple[dict[str, Any], int]]:
    return [
        (group, place)
        for group in optimizer.param_groups
        for place, table in enumerate(group["params"])
        if table.grad is not None and table.grad.is_sparse
    ]


def _lend_rows(optimizer: Optimizer, parameters: list[Tensor], place: int) -> Lent:
    table = parameters[place]
    assert table.grad is not None
    gradient = table.grad.coalesce()
    index = gradient.indices()[0]
    rows = nn.Parameter(table[index])
    rows.grad = gradient.values()
    state = optimizer.state.pop(table, {})
    optimizer.state[rows] = {
        name: value[index] if _has_rows(value, table) else value for name, value in state.items()
    }
    parameters[place] = rows
    return parameters, place, table, state, rows, index


def _take_back(
    optimizer: Optimizer,
    parameters: list[Tensor],
    place: int,
    table: Tensor,
    state: dict[str, Any],
    rows: Tensor,
    index: Tensor,
) -> None:
    table.index_copy_(0, index, rows)
    changed = optimizer.state.pop(rows)
    for name, value in changed.items():
        if _has_rows(value, rows):
            whole = state[name] if _has_rows(state.get(name), table) else torch.zeros_like(table)
            changed[name] = whole.index_copy_(0, index, value)
    optimizer.state[table] = changed
    parameters[place] = table


def _has_rows(value: Any, table: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == table.shape
