"""Max pooling on a CPU as maxima of slices: the same numbers as torch's kernel, several times as fast."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SlicedMaxPool2d(nn.Module):
    """Stands in for a square `nn.MaxPool2d` without padding or dilation, as MTCNN's networks have them.

    torch walks through every window of every channel, number by number; half of MTCNN's time is spent there.
    The maximum of k shifted views runs over whole rows.

    Args:
        pool: the module to stand in for.

    Raises:
        ValueError: it is of another kind.
    """

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        kernel, stride = pool.kernel_size, pool.stride
        if not isinstance(kernel, int) or not isinstance(stride, int) or pool.return_indices:
            raise ValueError(f"one kernel size and one stride are needed, and no indices, but got {pool}")
        if pool.padding != 0 or pool.dilation != 1:
            raise ValueError(f"padding and dilation are not supported, but got {pool}")
        self._kernel, self._stride, self._ceil = kernel, stride, pool.ceil_mode

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, h, w); at least one window has to fit, as torch asks it."""
        for dim in (2, 3):
            inputs = self._along(inputs, dim)
        return inputs

    def _along(self, inputs: Tensor, dim: int) -> Tensor:
        length, kernel, stride = inputs.shape[dim], self._kernel, self._stride
        places = (length - kernel + (stride - 1 if self._ceil else 0)) // stride + 1
        if (places - 1) * stride >= length:  # a last window must begin inside
            places -= 1
        missing = (places - 1) * stride + kernel - length
        if missing > 0:
            padding = (0, missing) if dim == 3 else (0, 0, 0, missing)
            inputs = F.pad(inputs, padding, value=-torch.inf)
        views = [
            inputs.narrow(dim, start, (places - 1) * stride + 1)[
                (slice(None),) * dim + (slice(None, None, stride),)
            ]
            for start in range(kernel)
        ]
        highest = views[0]
        for view in views[1:]:
            highest = torch.maximum(highest, view)
        return highest


def slice_pools(module: nn.Module) -> None:
    """Put `SlicedMaxPool2d` in the place of every `nn.MaxPool2d` in a module."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(parent, name, SlicedMaxPool2d(child))
