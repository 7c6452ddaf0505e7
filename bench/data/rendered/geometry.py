"""Where things are: from pixels to the surface of a turned head, and how its surface bends.

Only +, -, *, /, sqrt, floor, comparisons and linear interpolation are used per pixel: their results do not
depend on where in a batch a picture stands, as those of vectorised exp or sin may.

Shapes: parameters are (N, 1, 1), pixel planes (N, H, W). Lengths are in half head heights, y points down,
z to the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Parameters = dict[str, Tensor]
Colour = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class View:
    """Coordinates of every pixel.

    Args:
        x: in the upright head's plane.
        y: in the upright head's plane.
        xo: x, sheared so that the outline follows a turn of the head.
        outside: signed distance to the outline of the head, negative inside.
        z: depth of the head's ellipsoid, 0 outside the head.
        u: on the face itself, -: the person's right; 0 is the middle of the face however it is turned.
        v: on the face itself, down.
        w: depth on the face itself; below 0 is the back of the head.
        mirrored: |u|, for everything that comes in pairs.
        side: -1 or 1, the sign of u.
        px: size of a pixel in half head heights.
    """

    x: Tensor
    y: Tensor
    xo: Tensor
    outside: Tensor
    z: Tensor
    u: Tensor
    v: Tensor
    w: Tensor
    mirrored: Tensor
    side: Tensor
    px: Tensor


def look(p: Parameters, size: int) -> View:
    """Undo roll, scale, shift, yaw and pitch for every pixel of a size x size picture."""
    axis = (torch.arange(size, dtype=torch.float32) + 0.5) * (2.0 / size) - 1.0
    across, down = axis[None, None, :] - p["shift_x"], axis[None, :, None] - p["shift_y"]
    cos, sin = p["cos_roll"] / p["scale"], p["sin_roll"] / p["scale"]
    x = across * cos + down * sin
    y = down * cos - across * sin
    # The chin sticks out in front of the axis of rotation, so it swings to the side that the head turns to.
    xo = x - p["sin_yaw"] * 0.22 * (y - 0.1)
    outside, squared = _outline(p, xo, y)
    z = p["depth"] * squared.clamp_(min=0.0).sqrt_()
    u = xo * p["cos_yaw"] - z * p["sin_yaw"]
    w = xo * p["sin_yaw"] + z * p["cos_yaw"]
    v = y * p["cos_pitch"] - w * p["sin_pitch"]
    mirrored = u.abs()
    side = u.sign()
    px = 2.0 / size / p["scale"]
    return View(x, y, xo, outside, z, u, v, w, mirrored, side, px)


def _outline(p: Parameters, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Signed distance (first order), and half_width(y)^2 - x^2, for identity's outline polynomial."""
    t = y / p["length"] - 0.10 * p["sin_pitch"]
    inside_t = t.clamp(-1.0, 1.0)
    c0, c1, c2, c3 = (p[f"outline_{index}"] for index in range(4))
    cubic = ((inside_t * c3 + c2) * inside_t + c1) * inside_t + c0
    slope = (inside_t * (3.0 * c3) + 2.0 * c2) * inside_t + c1
    cap = 1.0 - t * t
    across = x * x
    squared = cap * cubic - across
    steep = (slope * cap - 2.0 * t * cubic) / p["length"]
    gradient = (4.0 * across + steep * steep + 0.01).sqrt_()
    return -squared / gradient, squared


# Tensors, because torch takes twice as long over a Python number as over a plane of 28,000 pixels.
HALF, ONE = torch.full((1, 1, 1), 0.5), torch.ones(1, 1, 1)


def crop(view: View) -> tuple[View, tuple[slice, slice]]:
    """The part of the pictures that holds the heads, one rectangle for all of them, and where it lies.

    What lies outside belongs to no head: no head depends on which pictures share its chunk.
    """
    rows, columns = (
        _extent((view.outside < view.px).any(0).any(axis), len_)
        for axis, len_ in ((1, view.outside.shape[1]), (0, view.outside.shape[2]))
    )
    planes = {
        name: plane if name == "px" else plane[:, rows, columns].contiguous()
        for name, plane in vars(view).items()
    }
    return View(**planes), (rows, columns)


def _extent(occupied: Tensor, length: int) -> slice:
    """From the first to the last True and one more on each side, for slopes; everything if there is none."""
    places = occupied.nonzero()
    if len(places) == 0:
        return slice(0, length)
    return slice(max(0, int(places[0]) - 1), min(length, int(places[-1]) + 2))


def present(amount: Tensor) -> bool:
    """Whether any picture of the chunk has it. Skipping what none has saves time and changes no byte."""
    return bool(amount.any())


def inside(distance: Tensor, softness: Tensor | float) -> Tensor:
    """Coverage in [0, 1] of a shape given its signed distance; the edge is `softness` wide."""
    return torch.sub(HALF, distance / softness).clamp_(0.0, 1.0)


def ramp(value: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    t = value.clamp(0.0, 1.0)
    return (t * -2.0).add_(3.0 * ONE).mul_(t).mul_(t)


def bump(x: Tensor, y: Tensor | None = None) -> Tensor:
    """A round hill of height 1 over the unit disk (or interval), exactly 0 outside it."""
    q = x * x
    if y is not None:
        q += y * y
    hill = torch.sub(ONE, q).clamp_(min=0.0)
    return hill.mul_(hill)


def wave(x: Tensor) -> Tensor:
    """A triangle wave of period 1 between -1 and 1."""
    return (x - x.floor()).sub_(HALF).abs_().mul_(4.0).sub_(ONE)


def colour(p: Parameters, name: str) -> Colour:
    """The three channels of a named colour."""
    return p[f"{name}_r"], p[f"{name}_g"], p[f"{name}_b"]


def paint(picture: list[Tensor], cover: Tensor, over: Colour) -> None:
    """Lay a colour over the picture, in place, where `cover` says."""
    for channel, value in zip(picture, over, strict=True):
        channel.lerp_(value, cover)


def slopes(height: Tensor, px: Tensor) -> tuple[Tensor, Tensor]:
    """D height / dx and d height / dy by central differences, one-sided at the border."""
    across, down = torch.empty_like(height), torch.empty_like(height)
    torch.sub(height[:, :, 2:], height[:, :, :-2], out=across[:, :, 1:-1])
    across[:, :, 0], across[:, :, -1] = across[:, :, 1], across[:, :, -2]
    torch.sub(height[:, 2:, :], height[:, :-2, :], out=down[:, 1:-1, :])
    down[:, 0, :], down[:, -1, :] = down[:, 1, :], down[:, -2, :]
    scale = 0.5 / px
    return across.mul_(scale), down.mul_(scale)
