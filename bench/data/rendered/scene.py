"""Everything around a face: wall, clothes, neck, ears, glasses, things in the way."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.rendered.geometry import Parameters, View, bump, colour, inside, paint, present, ramp, wave

WALL_GRID = 7


def wall(p: Parameters, texture: Tensor, size: int) -> list[Tensor]:
    """Two colours running into each other, blurred blobs, bars.

    Shape:
        texture: (N, 3, WALL_GRID, WALL_GRID) in [-1, 1]; returns three (N, size, size).
    """
    axis = (torch.arange(size, dtype=torch.float32) + 0.5) * (2.0 / size) - 1.0
    x, y = axis[None, None, :], axis[None, :, None]
    mix = ramp(0.5 + p["wall_x"] * x + p["wall_y"] * y)
    bars = p["wall_bars"] * wave((x + 0.4 * p["wall_x"] * y) * p["wall_frequency"] + p["wall_phase"])
    bars = (bars * 3.0).clamp_(-0.25, 0.25)
    position = (torch.arange(size, dtype=torch.float32) + 0.5) * ((WALL_GRID - 1.001) / size)
    cell = position.floor()
    part, cell = position - cell, cell.long()
    planes = []
    for index, letter in enumerate("rgb"):
        # Mostly light and dark, a little colour.
        grid = texture[:, 0] + 0.4 * texture[:, index]
        rows = grid.index_select(1, cell).lerp_(grid.index_select(1, cell + 1), part[:, None])
        blobs = rows.index_select(2, cell).lerp_(rows.index_select(2, cell + 1), part)
        start, end = p[f"wall_{letter}"], p[f"wall_end_{letter}"]
        planes.append(
            torch.lerp(start, end, mix).add_(bars).add_(blobs.mul_(p["wall_texture"])).clamp_(0.0, 1.0)
        )
    return planes


def body(p: Parameters, view: View, picture: list[Tensor]) -> None:
    """Neck in the shadow of the chin, shoulders in clothes."""
    x, y, px = view.x, view.y, view.px
    neck_x = x - p["sin_yaw"] * 0.10
    neck = inside(torch.maximum(neck_x.abs() - p["neck_width"] - 0.08 * (y - 0.9), 0.45 - y), px + 0.01)
    shade = 0.34 + 0.42 * ramp(view.outside * 2.4)
    shade = shade * (0.75 + 0.35 * (neck_x * p["light_x"] * 2.5 + 0.6).clamp(0.0, 1.0))
    for channel, value in zip(picture, colour(p, "skin"), strict=True):
        channel.lerp_(value * shade, neck)
    top = p["shoulder_y"] + p["shoulder_slope"] * x * x
    dip = bump(neck_x / (p["neck_width"] + 0.16)) * p["neckline"]
    cloth = inside(top + dip - y, px + 0.01)
    pattern = 1.0 + p["stripes"] * wave(y * 2.7)
    fold = (0.62 + 0.30 * ramp(0.5 + x * p["light_x"]) + 0.08 * wave(x * 1.3)) * pattern
    for channel, value in zip(picture, colour(p, "cloth"), strict=True):
        channel.lerp_(value * fold, cloth)
    if not present(p["collar"]):
        return
    collar = inside((top + dip - y + 0.05).abs() - 0.06, px) * p["collar"] * inside(x.abs() - 0.75, 0.1)
    paint(picture, collar, colour(p, "collar"))


def ears(p: Parameters, view: View, picture: list[Tensor]) -> None:
    """Two ears; the one on the side that the head turns to disappears behind the cheek."""
    side = view.xo.sign()
    seen = (1.0 - side * p["sin_yaw"] * 1.6).clamp_(0.05, 1.6)
    x = view.xo.abs() - p["width"] * (0.98 - 0.10 * (seen - 1.0)) - p["ear_out"] * seen
    y = view.y - p["ear_y"]
    wide = 0.085 * p["ear_size"] * seen
    high = 0.19 * p["ear_size"]
    low = ramp(y / high) * p["lobe"]
    round_ = ((x / wide) ** 2 + (y / high) ** 2 * (1.0 - 0.3 * low)).add_(1e-6).sqrt_()
    ear = inside((round_ - 1.0) * wide, view.px + 0.01)
    shade = (p["ambient"] + 0.12) * (0.95 - 0.40 * bump((x / wide - 0.1) * 1.5, y / high * 1.3))
    shade = shade + 0.35 * (side * p["light_x"] + 0.3).clamp_(0.0, 1.0)
    red = (1.05, 0.86, 0.84)
    for channel, value, tint in zip(picture, colour(p, "skin"), red, strict=True):
        channel.lerp_(value * tint * shade, ear)


def glasses(p: Parameters, view: View, picture: list[Tensor]) -> None:
    """A frame around each eye, bridge and temples; dark glass for some."""
    u = view.u - 0.10 * p["sin_yaw"]
    v = view.v + 0.10 * p["sin_pitch"]
    mirrored = u.abs()
    x, y = mirrored - p["eye_x"] * 1.04 - 0.01, v - p["eye_y"] - 0.03
    box = torch.maximum(x.abs() - p["glasses_w"] + 0.04, y.abs() - p["glasses_h"] + 0.04) - 0.04
    oval = ((x / p["glasses_w"]) ** 2 + (y / p["glasses_h"]) ** 2).add_(1e-6).sqrt_().sub_(1.0) * p[
        "glasses_h"
    ]
    lens = box + (oval - box) * p["glasses_round"]
    on_head = p["glasses"] * inside(view.outside, view.px)
    glass = inside(lens, view.px)
    paint(picture, glass * p["tint"] * on_head, _dark(p))
    glare = bump((x - y * 0.7 + 0.05) * 9.0) * glass * 0.16
    paint(picture, glare * on_head, _bright(p))
    rim = inside(lens.abs() - p["rim_thick"], view.px)
    bridge = inside(torch.maximum(mirrored - p["eye_x"], (y + 0.05).abs() - 0.022), view.px) * (1.0 - glass)
    temple = inside(torch.maximum(p["eye_x"] + p["glasses_w"] - mirrored, (y + 0.05).abs() - 0.026), view.px)
    frame = torch.maximum(torch.maximum(rim, bridge), temple) * on_head
    red, green, blue = (value * (p["ambient"] + 0.4) for value in colour(p, "frame"))
    paint(picture, frame, (red, green, blue))


def occluder(p: Parameters, view: View, picture: list[Tensor]) -> None:
    """A hand, a cup or a scarf before part of the face."""
    if present(p["occluder"]):
        _object(p, view, picture)
    scarf = inside(p["scarf"] + 0.10 * view.x - view.y, view.px + 0.01)
    if present(scarf):
        scarf *= inside(view.outside - 0.12, 0.06)
        knit = 0.8 + 0.12 * wave(view.y * 4.0 + 0.8 * view.x)
        red, green, blue = (value * knit for value in colour(p, "collar"))
        paint(picture, scarf, (red, green, blue))


def _object(p: Parameters, view: View, picture: list[Tensor]) -> None:
    x, y = view.x - p["occluder_x"], view.y - p["occluder_y"]
    turned_x, turned_y = x + p["occluder_slope"] * y, y - p["occluder_slope"] * x
    across, down = (turned_x / p["occluder_w"]).square_(), (turned_y / p["occluder_h"]).square_()
    corner = (across.square() + down.square() + 1e-6).sqrt_() - 1.0  # a rectangle with round corners
    cover = inside(corner * (0.5 * p["occluder_w"]), view.px + 0.01) * p["occluder"]
    lines = 0.92 - 0.16 * ramp(wave(turned_x * 5.2)) - 0.18 * across + 0.25 * turned_x * p["light_x"]
    for channel, value in zip(picture, colour(p, "occluder"), strict=True):
        channel.lerp_(value * lines, cover)


def _dark(p: Parameters) -> tuple[Tensor, Tensor, Tensor]:
    plane = torch.full_like(p["scale"], 0.05)
    return plane, plane, plane


def _bright(p: Parameters) -> tuple[Tensor, Tensor, Tensor]:
    plane = torch.full_like(p["scale"], 0.95)
    return plane, plane, plane
