"""Images in, embeddings out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.data import Preprocess

Flip = Literal["none", "sum", "concat"]
Precision = Literal["float32", "bf16"]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The arithmetic that the backbone runs in; weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def forward(backbone: nn.Module, pixels: Tensor, *, preprocess: Preprocess, precision: Precision) -> Tensor:
    """Raw embeddings (B, D) float32 of pixels (B, 3, H, W) in [0, 255] that lie on the backbone's device."""
    images = preprocess(pixels).contiguous(memory_format=torch.channels_last)
    with autocast(pixels.device, precision):
        embeddings: Tensor = backbone(images)
    return embeddings.float()


@torch.inference_mode()
def embed(
    backbone: nn.Module,
    images: NDArray[np.uint8],
    *,
    device: torch.device,
    batch_size: int,
    preprocess: Preprocess,
    flip: Flip = "none",
    precision: Precision = "float32",
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Raw embeddings of all images, in evaluation mode.

    Args:
        backbone: (B, 3, H, W) standardised -> (B, D).
        images: (N, 3, H, W) uint8.
        device: where the backbone is.
        batch_size: images at a time.
        preprocess: as in training.
        flip: "none"; "sum": the embedding of the mirrored image is added; "concat": facenet's, both, each of
            unit norm, side by side.
        precision: arithmetic of the backbone.
        check: called between batches; may raise to stop.

    Returns:
        (N, D) float32, (N, 2 D) with concat. Not normalised, but for the halves of concat.
    """
    modes = [(module, module.training) for module in backbone.modules()]  # parts may be frozen
    backbone.eval()
    rows = []
    try:
        for start in range(0, len(images), batch_size):
            check()
            # a copy: the memory map is read-only and torch wants memory it may write to
            pixels = torch.from_numpy(np.array(images[start : start + batch_size])).to(device)
            embeddings = forward(backbone, pixels, preprocess=preprocess, precision=precision)
            if flip != "none":
                mirrored = forward(backbone, pixels.flip(-1), preprocess=preprocess, precision=precision)
                embeddings = _combine(embeddings, mirrored, flip)
            rows.append(embeddings.cpu())
    finally:
        for module, was_training in modes:
            module.training = was_training
    result: NDArray[np.float32] = torch.cat(rows).numpy()
    return result


def _combine(embeddings: Tensor, mirrored: Tensor, flip: Flip) -> Tensor:
    if flip == "sum":
        return embeddings + mirrored
    normalize = torch.nn.functional.normalize
    return torch.cat([normalize(embeddings), normalize(mirrored)], dim=1)
