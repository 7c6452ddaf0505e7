"""From light to bytes: exposure, blur, compression, sensor noise, contrast."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.rendered.geometry import Parameters


def develop(p: Parameters, picture: list[Tensor], noise: Tensor) -> Tensor:
    """Apply the camera of each picture.

    Shape:
        picture: three (N, H, W); noise: (N, 3, H, W) float32 of unit variance; returns (N, 3, H, W) uint8.
    """
    size = picture[0].shape[-1]
    red, green, blue = (
        channel * (p["gain"] * p[f"light_{letter}"]) for channel, letter in zip(picture, "rgb", strict=True)
    )
    grey = 0.30 * red + 0.59 * green + 0.11 * blue
    out = torch.empty((*noise.shape,), dtype=torch.uint8)
    for index, channel in enumerate((red, green, blue)):
        value = grey + p["saturation"] * (channel - grey)
        value = _blur(value, p["blur"], max(1, round(size / 64)))
        # Green carries most of the brightness; the others lose more detail, as colour does in JPEG.
        step = p["compress"] * (1.0 if index == 1 else 1.6)
        chosen = step[:, 0, 0].nonzero()[:, 0]
        if len(chosen):
            smoothed = _compress(value.index_select(0, chosen), step.index_select(0, chosen))
            value.index_copy_(0, chosen, smoothed)
        value += p["noise"] * noise[:, index]
        value = (value - 0.45) * p["contrast"] + 0.45
        value.clamp_(0.0, 1.0)
        # A parabola through 0 and 1 in place of a power: brightens or darkens the middle tones.
        value += p["gamma"] * value * (1.0 - value)
        value.clamp_(0.0, 1.0).mul_(255.0).add_(0.5)
        out[:, index] = value.to(torch.uint8)
    return out


def _blur(plane: Tensor, strength: Tensor, reach: int) -> Tensor:
    """Binomial blur along both axes, mixed in by `strength` (1 is [1 2 1] / 4)."""
    for axis in (1, 2):
        length = plane.shape[axis]
        before = plane.narrow(axis, 0, length - 2 * reach)
        after = plane.narrow(axis, 2 * reach, length - 2 * reach)
        middle = plane.narrow(axis, reach, length - 2 * reach)
        change = ((before + after) * 0.5 - middle) * (0.5 * strength)
        plane = plane.clone()
        plane.narrow(axis, reach, length - 2 * reach).add_(change)
    return plane


def _compress(plane: Tensor, step: Tensor) -> Tensor:
    """Quantise differences within blocks of 2x2 pixels, as strong JPEG compression does with fine detail."""
    even = plane.shape[-1] // 2 * 2
    a, b = plane[:, :even:2, :even:2], plane[:, :even:2, 1:even:2]
    c, d = plane[:, 1:even:2, :even:2], plane[:, 1:even:2, 1:even:2]
    top, bottom = a + b, c + d
    mean, down = (top + bottom) * 0.25, (top - bottom) * 0.25
    across, cross = (a - b + c - d) * 0.25, (a - b - c + d) * 0.25
    # A dead zone, like a quantiser's: small differences vanish, large ones lose the step.
    down, across, cross = (_shrink(value, step) for value in (down, across, cross))
    out = plane.clone()
    out[:, :even:2, :even:2] = mean + down + across + cross
    out[:, :even:2, 1:even:2] = mean + down - across - cross
    out[:, 1:even:2, :even:2] = mean - down + across - cross
    out[:, 1:even:2, 1:even:2] = mean - down - across + cross
    return out


def _shrink(value: Tensor, step: Tensor) -> Tensor:
    return value - torch.minimum(torch.maximum(value, -step), step)
