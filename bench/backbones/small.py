"""The default backbone: a residual network small enough to learn faces on two CPU cores in a minute."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.types import PositiveInt, Probability


class Small(nn.Module):
    """Four stages of halved resolution and doubled width, one residual block each, and a flattened head.

    Args:
        embedding_dim: D of the output.
        width: channels of the first stage.
        dropout: before the head.
    """

    def __init__(self, embedding_dim: int, width: int, dropout: float) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.stem = _convolution(3, width, stride=2)
        self.stages = nn.Sequential(*(_Stage(inner, outer) for inner, outer in pairwise(widths)))
        # a face is aligned, so where a feature lies means something: flatten 4 x 4, do not average it away
        self.head = nn.Sequential(
            _Pool(4),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(16 * widths[-1], embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim),
        )
        self.recomputed_modules = ("stem", *(f"stages.{index}" for index in range(len(self.stages))))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) standardised -> (B, D) raw embeddings."""
        embeddings: Tensor = self.head(self.stages(self.stem(images)))
        return embeddings


class _Pool(nn.AdaptiveAvgPool2d):
    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.shape[-2:] != (self.output_size,) * 2:
            pooled: Tensor = super().forward(inputs)
            return pooled
        # averages of one value each: going back through them is a twentieth of a step in bf16
        if _is_trained_in_channels_last(inputs):
            # flattening gives gradients in the other layout, and ReLU's kernel is 15 times slower on a mix
            inputs.register_hook(_to_channels_last)  # type: ignore[no-untyped-call]
        return inputs


def _is_trained_in_channels_last(inputs: Tensor) -> bool:
    # a compiler chooses layouts itself
    return (
        inputs.requires_grad
        and inputs.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
    )


def _to_channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


class _Stage(nn.Module):
    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.down = _convolution(inner, outer, stride=2)
        self.block = nn.Sequential(
            _convolution(outer, outer),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        shortcut = self.down(inputs)
        return F.relu(shortcut + self.block(shortcut), inplace=True)


def _convolution(inner: int, outer: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outer),
        nn.ReLU(inplace=True),
    )


def small(
    *, embedding_dim: PositiveInt = 128, width: PositiveInt = 16, dropout: Probability = 0.0
) -> nn.Module:
    """A residual network of 18 M multiply-adds at 64 px, for two CPU cores."""
    return Small(embedding_dim, width, dropout)
