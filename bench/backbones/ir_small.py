"""A small face network of improved residual units, for real faces on a few CPU cores."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from losses.types import PositiveInt, Probability


class IRSmall(nn.Module):
    """A stem and three stages of halved resolution and doubled width, in units as ArcFace's networks have.

    Args:
        embedding_dim: D of the output.
        width: channels of the stem.
        dropout: before the head.
    """

    def __init__(self, embedding_dim: int, width: int, dropout: float) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        units: list[nn.Module] = []
        for (inner, outer), count in zip(pairwise(widths), (1, 2, 1), strict=True):
            units += [
                _Unit(inner, outer, stride=2),
                *(_Unit(outer, outer, stride=1) for _ in range(count - 1)),
            ]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        self.units = nn.Sequential(*units)
        # a face is aligned, so where a feature lies means something: flatten 4 x 4, do not average it away
        self.head = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(16 * widths[-1], embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim),
        )
        self.recomputed_modules = ("stem", *(f"units.{index}" for index in range(len(self.units))))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) standardised -> (B, D) raw embeddings."""
        embeddings: Tensor = self.head(self.units(self.stem(images)))
        return embeddings


class _Unit(nn.Module):
    """BN - conv - BN - PReLU - conv - BN beside the identity, or a 1 x 1 where the size changes.

    Source: Deng et al., ArcFace, CVPR 2019, arXiv 1801.07698v4, section 3.1; the stride is in the first
    convolution here, which saves three quarters of its work.
    """

    def __init__(self, inner: int, outer: int, *, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inner),
            nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.PReLU(outer),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inner != outer:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride=stride, bias=False), nn.BatchNorm2d(outer)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.residual(inputs) + self.shortcut(inputs)
        return features


def ir_small(
    *, embedding_dim: PositiveInt = 128, width: PositiveInt = 32, dropout: Probability = 0.0
) -> nn.Module:
    """A residual network of improved units with PReLU: 64 M multiply-adds at 64 px."""
    return IRSmall(embedding_dim, width, dropout)
