"""How a picture was taken: everything that changes between two pictures of one person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data.rendered.streams import Columns, Purpose, Split, Values, stream

NUM_NUMBERS = 224


def draw_nuisance(
    seed: int,
    split: Split,
    people: Sequence[int] | NDArray[np.int64],
    images: Sequence[int] | NDArray[np.int64],
    *,
    strength: float = 1.0,
) -> dict[str, Values]:
    """Parameters of some pictures: name -> (len(people),). Picture k of person i is always the same.

    Args:
        seed: `data.seed`.
        split: the population.
        people: the person in each picture.
        images: the number of each picture among those of its person.
        strength: scales every deviation from a plain frontal picture; 0 leaves only background and clothes.
    """
    streams = (
        stream(seed, split, Purpose.NUISANCE, int(person), int(image))
        for person, image in zip(people, images, strict=True)
    )
    c = Columns(streams, NUM_NUMBERS, strength)
    p: dict[str, Values] = {}
    _pose(p, c)
    _light(p, c)
    _expression(p, c)
    _accessories(p, c, strength)
    _surroundings(p, c)
    _camera(p, c)
    return p


def _pose(p: dict[str, Values], c: Columns) -> None:
    roll, yaw, pitch = c.bell(-0.32, 0.32), c.bell(-0.56, 0.56), c.bell(-0.28, 0.28)
    for name, angle in (("roll", roll), ("yaw", yaw), ("pitch", pitch)):
        limited = np.clip(angle, -0.75, 0.75)
        p[f"sin_{name}"], p[f"cos_{name}"] = np.sin(limited), np.cos(limited)
    p["scale"] = np.clip(c.bell(0.72, 0.90), 0.4, 1.3)
    p["shift_x"], p["shift_y"] = c.bell(-0.13, 0.13), c.bell(-0.10, 0.14)


def _light(p: dict[str, Values], c: Columns) -> None:
    x, y = c.uniform(-0.95, 0.95), c.uniform(-0.9, 0.25)
    norm = np.sqrt(x * x + y * y + 1.0)
    p["light_x"], p["light_y"], p["light_z"] = x / norm, y / norm, 1.0 / norm
    p["ambient"] = np.clip(c.uniform(0.34, 0.64), 0.15, 0.8)
    p["gain"] = np.clip(c.bell(0.62, 1.38), 0.35, 1.8)
    warm, green = c.bell(-0.28, 0.28), c.bell(-0.10, 0.10)
    p["light_r"], p["light_g"], p["light_b"] = 1 + warm, 1 + green, 1 - warm
    p["rim"] = np.clip(c.uniform(-0.5, 0.45), 0.0, None)
    p["rim_side"] = np.where(c.chance(0.5) > 0, 1.0, -1.0)
    p["rim_warm"] = c.uniform(-0.5, 0.5)


def _expression(p: dict[str, Values], c: Columns) -> None:
    p["smile"] = c.bell(-0.5, 1.0)
    p["open"] = np.clip(c.uniform(-0.12, 0.12), 0.0, None) * c.chance(0.6)
    p["raise"] = c.bell(-0.055, 0.055)
    p["frown"] = c.bell(-0.12, 0.12)
    blink = c.chance(0.05)
    p["close"] = np.clip(np.where(blink > 0, 1.0, c.bell(-0.30, 0.50)), -0.35, 1.0)
    p["gaze_x"], p["gaze_y"] = c.bell(-0.11, 0.11), c.bell(-0.035, 0.035)


def _accessories(p: dict[str, Values], c: Columns, strength: float) -> None:
    p["glasses"] = c.chance(0.14 * strength)
    p["tint"] = p["glasses"] * np.where(c.chance(0.28) > 0, c.uniform(0.65, 0.95), 0.05)
    p["glasses_w"] = np.clip(c.bell(0.19, 0.29), 0.1, 0.4)
    p["glasses_h"] = np.clip(c.bell(0.13, 0.23), 0.08, 0.35)
    p["glasses_round"] = c.uniform(0.0, 1.0)
    p["rim_thick"] = np.clip(c.uniform(0.014, 0.042), 0.005, 0.08)
    for letter in "rgb":
        p[f"frame_{letter}"] = np.clip(c.uniform(0.02, 0.42), 0.0, 1.0)
    # Something in the way: a hand, a cup, a microphone, a scarf; mostly at the border of the face.
    p["occluder"] = c.chance(0.10 * strength)
    side = np.where(c.chance(0.5) > 0, 1.0, -1.0)
    p["occluder_x"], p["occluder_y"] = side * c.uniform(0.25, 0.85), c.uniform(-0.3, 1.0)
    p["occluder_w"] = np.clip(c.uniform(0.18, 0.42), 0.1, 0.6)
    p["occluder_h"] = np.clip(c.uniform(0.30, 0.75), 0.1, 1.0)
    p["occluder_slope"] = c.uniform(-0.8, 0.8)
    hand, skin, dull = c.chance(0.5), c.uniform(0.45, 1.2), c.uniform(0.1, 0.8)
    for letter, base in zip("rgb", (0.75, 0.55, 0.42), strict=True):
        p[f"occluder_{letter}"] = np.clip(np.where(hand > 0, base * skin, dull + c.bell(-0.3, 0.3)), 0.0, 1.0)
    p["scarf"] = np.where(c.chance(0.03 * strength) > 0, c.uniform(0.62, 0.95), 4.0)


def _surroundings(p: dict[str, Values], c: Columns) -> None:
    cloth = c.uniform(0.05, 0.8)
    lightness, other = c.uniform(0.08, 0.92), c.uniform(-0.35, 0.35)
    for letter in "rgb":
        p[f"wall_{letter}"] = np.clip(lightness + c.bell(-0.45, 0.45), 0.0, 1.0)
        p[f"wall_end_{letter}"] = np.clip(p[f"wall_{letter}"] + other + c.bell(-0.25, 0.25), 0.0, 1.0)
        p[f"cloth_{letter}"] = np.clip(cloth + c.bell(-0.35, 0.35), 0.03, 1.0)
        p[f"collar_{letter}"] = np.clip(c.uniform(0.1, 0.95), 0.0, 1.0)
    p["wall_x"], p["wall_y"] = c.uniform(-0.6, 0.6), c.uniform(-0.6, 0.6)
    p["wall_texture"] = np.clip(c.uniform(-0.15, 0.35), 0.0, 0.4)
    p["wall_bars"] = np.clip(c.uniform(-0.5, 0.35), 0.0, 0.4)
    p["wall_frequency"], p["wall_phase"] = c.uniform(0.6, 2.4), c.uniform(0.0, 1.0)
    p["shoulder_y"] = c.bell(0.98, 1.24)
    p["shoulder_slope"] = c.bell(0.12, 0.40)
    p["neckline"] = np.clip(c.uniform(-0.05, 0.40), -0.1, 0.6)
    p["collar"] = c.chance(0.4)
    p["stripes"] = c.chance(0.25) * c.uniform(0.2, 0.6)
    p["hair_more"] = c.bell(-0.035, 0.035)
    p["hairline_more"] = c.bell(-0.07, 0.07)
    p["sweep_more"] = c.bell(-0.16, 0.16)
    p["hair_tangle"] = c.uniform(0.0, 1.0)
    p["hair_light"] = c.bell(0.80, 1.20)


def _camera(p: dict[str, Values], c: Columns) -> None:
    p["blur"] = np.clip(c.uniform(-0.4, 0.8), 0.0, 1.5)
    p["noise"] = c.amount(0.036)
    p["contrast"] = np.clip(c.bell(0.70, 1.30), 0.4, 1.7)
    p["gamma"] = np.clip(c.bell(-0.45, 0.45), -0.7, 0.7)
    p["saturation"] = np.clip(c.bell(0.45, 1.55), 0.0, 2.0)
    p["compress"] = np.clip(c.uniform(-0.14, 0.09), 0.0, 0.15)
