"""Images in, embeddings out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.data import Images, Preprocess
from bench.distributed import ALONE, World

Flip = Literal["none", "sum", "concat"]
Precision = Literal["float32", "bf16", "fp16", "float64"]

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def weights_dtype(precision: Precision) -> torch.dtype:
    """What weights are kept in: float32, of which half precision makes its copies, or float64."""
    return torch.float64 if precision == "float64" else torch.float32


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The arithmetic that the backbone runs in; weights stay float32."""
    if precision not in _HALF and not torch.is_autocast_enabled(device.type):
        return nullcontext()  # one that is off takes as long to enter as some losses to compute
    return torch.autocast(device.type, _HALF.get(precision, torch.bfloat16), enabled=precision in _HALF)


def backbone_input(pixels: Tensor, preprocess: Preprocess, place: Tensor | None = None) -> Tensor:
    """Pixels (B, 3, H, W) in [0, 255] as a backbone is fed, float32 and laid out as convolutions want it.

    Args:
        pixels: uint8 or float.
        preprocess: of the backbone.
        place: an earlier result that nobody reads any more; written over where this one fits in it.
    """
    return preprocess.channels_last(pixels, place)


def forward(backbone: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    """Raw embeddings (B, D) of `backbone_input` that lies on the backbone's device.

    float32, or float64 in that precision, whose backbone holds float64 weights.
    """
    if precision == "float64":
        wide: Tensor = backbone(images.double())
        return wide
    with autocast(images.device, precision):
        embeddings: Tensor = backbone(images)
    return embeddings.float()


@torch.inference_mode()
def embed(
    backbone: nn.Module,
    images: Images,
    *,
    device: torch.device,
    batch_size: int,
    preprocess: Preprocess,
    flip: Flip = "none",
    precision: Precision = "float32",
    check: Callable[[], None] = lambda: None,
    world: World = ALONE,
) -> NDArray[np.floating]:
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
        world: processes that divide the work; each gets all of the result.

    Returns:
        (N, D) float32 or float64, (N, 2 D) with concat. Not normalised, but for the halves of concat.
    """

    def embed_share(rows: slice) -> Tensor:
        share = []
        for start in range(rows.start, rows.stop, batch_size):
            check()
            # a copy: the memory map is read-only and torch wants memory it may write to
            chosen = np.array(images[start : min(start + batch_size, rows.stop)])
            pixels = torch.from_numpy(chosen).to(device)
            embeddings = forward(backbone, backbone_input(pixels, preprocess), precision)
            if flip != "none":
                mirrored = forward(backbone, backbone_input(pixels.flip(-1), preprocess), precision)
                embeddings = _combine(embeddings, mirrored, flip)
            share.append(embeddings)
        return torch.cat(share)

    modes = [(module, module.training) for module in backbone.modules()]  # parts may be frozen
    backbone.eval()
    try:
        result: NDArray[np.floating] = world.gather_all(embed_share, len(images)).cpu().numpy()
    finally:
        for module, was_training in modes:
            module.training = was_training
    return result


def _combine(embeddings: Tensor, mirrored: Tensor, flip: Flip) -> Tensor:
    if flip == "sum":
        return embeddings + mirrored
    normalize = torch.nn.functional.normalize
    return torch.cat([normalize(embeddings), normalize(mirrored)], dim=1)
