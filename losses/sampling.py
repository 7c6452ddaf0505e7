"""A step with some of the classes: those of its images, and others at random (Partial FC).

An et al., Partial FC: Training 10 Million Identities on a Single Machine, ICCVW 2021, arXiv:2010.05222;
An et al., Killing Two Birds with One Stone, CVPR 2022, arXiv:2203.15565.

The cross entropy of a step runs over the sample as if there were no other classes: no logit is corrected for
what was left out, as in the papers. The gradient of a table holds the rows of the sample alone, so that
whoever takes the step moves no other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def sample_classes(labels: Tensor, total: int, rate: float) -> Tensor:
    """(k,) classes that take part, ascending: all of `labels`, filled up with others, each equally likely.

    k is the whole part of rate * total, as in the authors' code, or the number of classes of the batch where
    that is more. Drawn by torch's generator of the labels' device from all classes, however they are divided:
    processes whose generators stand alike draw alike. (The authors draw among the classes of each process.)

    Args:
        labels: (B,) in [0, total).
        total: C.
        rate: r, in (0, 1].
    """
    takes_part = torch.zeros(total, dtype=torch.bool, device=labels.device)
    takes_part[labels] = True
    order = torch.randperm(total, device=labels.device)
    others = order[~takes_part[order]]
    # rounded first: 0.29 * 100 is 28.999999999999996 and means 29
    missing = int(round(rate * total, 6)) - (total - len(others))
    takes_part[others[: max(0, missing)]] = True
    return takes_part.nonzero().squeeze(1)


def rows_of(table: Tensor, rows: Tensor) -> Tensor:
    """(k, ...) rows of a (C, ...) table; its gradient is sparse, of (k, ...) values and their rows.

    Args:
        table: to be read.
        rows: (k,) ascending, each once.
    """
    taken: Tensor = _Rows.apply(table, rows)
    return taken


class _Rows(torch.autograd.Function):
    """Indexing; its gradient is no table of zeros with k rows in it, which costs memory."""

    @staticmethod
    def forward(context: Any, table: Tensor, rows: Tensor) -> Tensor:
        context.save_for_backward(rows)
        context.shape = table.shape
        return table[rows]

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (rows,) = context.saved_tensors
        (gradient,) = gradients
        return (
            torch.sparse_coo_tensor(
                rows.unsqueeze(0), gradient, context.shape, is_coalesced=True, check_invariants=False
            ),
            None,
        )
