"""What a backbone is fed: pixels cropped to its size and standardised, in training and ever after."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Standardization = Literal["fixed", "per_image", "none"]

_SCALE, _LOWEST = 1 / 128.0, -127.5 / 128.0
_IN_CACHE = 16  # images


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Pixels -> backbone input. A trained backbone means nothing without it.

    Args:
        standardization: fixed, (x - 127.5) / 128; per_image, facenet's prewhiten,
            (x - mean) / max(std, 1 / sqrt(n)) with n values in an image; none, for a foreign network that
            takes pixels and standardises them itself.
        crop_px: height and width that are cut out of the middle first; None takes images as they are.
    """

    standardization: Standardization = "fixed"
    crop_px: int | None = None

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 or float in [0, 255] -> (B, 3, crop, crop) float32."""
        return standardize(center_crop(pixels, self.crop_px), self.standardization)

    def channels_last(self, pixels: Tensor, place: Tensor | None = None) -> Tensor:
        """The same numbers laid out as convolutions want them (torch.channels_last).

        Args:
            pixels: as above.
            place: an earlier result that nobody reads any more; written over where this one fits in it.
        """
        cropped = center_crop(pixels, self.crop_px)
        if self.standardization == "per_image":
            return standardize(cropped, "per_image").contiguous(memory_format=torch.channels_last)
        if place is None or place.shape != cropped.shape or place.device != cropped.device:
            place = _empty(cropped)
        _lay_out(cropped, place, is_standardized=self.standardization == "fixed")
        return place


def center_crop(pixels: Tensor, size_px: int | None) -> Tensor:
    """The middle size_px x size_px of (B, 3, H, W); an odd border is one pixel narrower at the top and left.

    Images that are no larger than that stay as they are: random crops of training are of the size already.
    """
    if size_px is None:
        return pixels
    top, left = (max(0, (length - size_px) // 2) for length in pixels.shape[-2:])
    return pixels[..., top : top + size_px, left : left + size_px]


def standardize(pixels: Tensor, kind: Standardization) -> Tensor:
    """Pixels (B, 3, H, W) in [0, 255], uint8 or float, as `Preprocess` says."""
    pixels = pixels.float()
    if kind == "none":
        return pixels
    if kind == "fixed":
        # In one pass. The same numbers to the last bit: 1/128 is a power of two.
        return torch.rsub(pixels, _LOWEST, alpha=-_SCALE)
    flat = pixels.flatten(1)
    mean = flat.mean(1)
    deviation = flat.std(1, correction=0).clamp_min(1.0 / math.sqrt(flat.shape[1]))
    return (pixels - mean[:, None, None, None]) / deviation[:, None, None, None]


def _empty(pixels: Tensor) -> Tensor:
    return torch.empty(
        pixels.shape, dtype=torch.float32, device=pixels.device, memory_format=torch.channels_last
    )


def _lay_out(pixels: Tensor, laid: Tensor, *, is_standardized: bool) -> None:
    """(B, 3, H, W) uint8 or float -> float32 in channels_last, each number written to memory once."""
    lowest = torch.tensor(_LOWEST, device=pixels.device)
    by_pixel = pixels.stride(1) == 1
    # A CPU lays out channel by channel fastest, in blocks that are still in its cache for what comes next.
    images = _IN_CACHE if pixels.device.type == "cpu" else max(1, len(pixels))
    for start in range(0, len(pixels), images):
        block, source = laid[start : start + images], pixels[start : start + images]
        if by_pixel:
            block.copy_(source)
        else:
            for channel in range(pixels.shape[1]):
                block[:, channel] = source[:, channel]
        if is_standardized:
            torch.add(lowest, block, alpha=_SCALE, out=block)
