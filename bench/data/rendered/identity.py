"""Who is in the picture: some hundred parameters that stay the same over all pictures of a person.

Lengths are in half head heights (a head reaches from y = -1 to y = 1, y points down), colours are sRGB in
[0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data.rendered.streams import Columns, Purpose, Split, Values, stream

NUM_NUMBERS = 320
NUM_MOLES = 4

# From very light to very dark, as measured skin lies along one curved line in colour space.
SKIN = np.array(
    [
        (0.965, 0.845, 0.770),
        (0.925, 0.760, 0.655),
        (0.855, 0.655, 0.515),
        (0.730, 0.520, 0.375),
        (0.560, 0.370, 0.245),
        (0.400, 0.255, 0.175),
        (0.285, 0.180, 0.130),
    ]
)
HAIR = np.array(
    [
        (0.055, 0.048, 0.050),
        (0.150, 0.100, 0.075),
        (0.270, 0.175, 0.115),
        (0.430, 0.300, 0.190),
        (0.640, 0.490, 0.300),
        (0.840, 0.720, 0.510),
    ]
)
RED_HAIR = np.array([(0.200, 0.070, 0.045), (0.480, 0.190, 0.080), (0.740, 0.390, 0.190)])
IRIS = np.array(
    [
        (0.130, 0.075, 0.045),
        (0.290, 0.165, 0.080),
        (0.420, 0.320, 0.150),
        (0.330, 0.440, 0.270),
        (0.310, 0.480, 0.560),
        (0.300, 0.450, 0.680),
        (0.560, 0.620, 0.660),
    ]
)


def draw_identities(
    seed: int, split: Split, people: Sequence[int] | NDArray[np.int64], *, spread: float = 1.0
) -> dict[str, Values]:
    """Parameters of some people: name -> (len(people),). Person i is the same whoever else is asked for.

    Args:
        seed: `data.seed`.
        split: the population.
        people: indices in the population.
        spread: how far people are from the average person; 1 is natural.
    """
    streams = (stream(seed, split, Purpose.IDENTITY, int(person)) for person in people)
    columns = Columns(streams, NUM_NUMBERS, spread)
    p: dict[str, Values] = {}
    # Three traits that many features lean on, so that faces are plausible; each feature keeps its own part.
    masculine = np.clip(columns.chance(0.5) * 0.6 + columns.uniform(0.0, 0.4), 0.0, 1.0)
    age = np.clip(columns.uniform(-0.15, 1.0), 0.0, 1.0)
    tone = np.clip(columns.uniform(0.0, 1.0), 0.0, 1.0)
    _skin(p, columns, tone, age)
    _head(p, columns, masculine)
    _eyes(p, columns, masculine, tone)
    _nose_and_mouth(p, columns, masculine, tone)
    _marks(p, columns, tone, age)
    _hair(p, columns, masculine, age, tone)
    _facial_hair(p, columns, masculine)
    return p


def _skin(p: dict[str, Values], c: Columns, tone: Values, age: Values) -> None:
    skin = _interpolate(SKIN, tone)
    warm, pink = c.bell(-0.09, 0.09), c.bell(-0.06, 0.09)
    _set_colour(p, "skin", skin * np.stack([1 + 0.3 * warm, 1 - 0.5 * pink, 1 - warm], axis=1))
    p["blush"] = c.uniform(0.0, 0.21) * (1 - 0.5 * tone)
    p["nose_blush"] = c.uniform(-0.05, 0.20) * (1 - 0.5 * tone)
    p["gloss"] = c.uniform(0.04, 0.26)
    p["under_eye"] = np.clip(c.uniform(-0.10, 0.30) + 0.15 * age, 0.0, 0.5)
    p["socket_dark"] = c.uniform(0.02, 0.22)


def _head(p: dict[str, Values], c: Columns, masculine: Values) -> None:
    p["length"] = c.bell(0.88, 1.10)
    width = c.bell(0.585, 0.785)
    # Half widths at four heights (fractions of the length) fix the outline, see geometry.outline.
    temple = width * c.bell(0.80, 0.97)
    jaw = width * (c.bell(0.70, 0.94) + 0.05 * (masculine - 0.5))
    chin = jaw * (c.bell(0.42, 0.74) + 0.10 * (masculine - 0.5))
    for index, coefficient in enumerate(_outline_coefficients(temple, width, jaw, chin).T):
        p[f"outline_{index}"] = coefficient
    p["width"] = width
    p["depth"] = c.bell(0.88, 1.12)
    p["cheekbone"] = c.uniform(-0.01, 0.09)
    p["cheekbone_y"] = c.bell(0.08, 0.30)
    p["cheek_full"] = c.uniform(-0.06, 0.06)
    p["chin_bump"] = c.uniform(0.0, 0.09)
    p["chin_width"] = c.bell(0.10, 0.26)
    p["cleft"] = np.clip(c.uniform(-0.10, 0.05), 0.0, None)
    p["forehead_bump"] = c.uniform(-0.03, 0.06)
    p["ear_size"] = c.bell(0.65, 1.35)
    p["ear_out"] = c.bell(-0.03, 0.10)
    p["ear_y"] = c.bell(0.0, 0.20)
    p["lobe"] = c.uniform(-0.3, 0.5)
    p["neck_width"] = p["width"] * (c.bell(0.46, 0.66) + 0.16 * (masculine - 0.4))


def _eyes(p: dict[str, Values], c: Columns, masculine: Values, tone: Values) -> None:
    p["eye_x"] = p["width"] * c.bell(0.365, 0.535)
    p["eye_y"] = c.bell(-0.15, 0.08)
    p["eye_w"] = c.bell(0.130, 0.215)
    p["eye_open"] = c.bell(0.048, 0.125) - 0.012 * (masculine - 0.5)
    p["eye_tilt"] = c.bell(-0.22, 0.34)
    p["eye_lower"] = c.bell(0.35, 0.95)
    p["eye_skew"] = c.bell(-0.55, 0.45)
    p["iris"] = c.bell(0.060, 0.092)
    brown = c.chance(0.35 + 0.62 * tone)
    _set_colour(p, "iris", _interpolate(IRIS, np.where(brown > 0, c.uniform(0, 0.30), c.uniform(0.33, 1.0))))
    p["crease"] = np.clip(c.uniform(-0.25, 0.75), 0.0, 1.0)
    p["crease_y"] = c.uniform(0.030, 0.085)
    p["lash"] = np.clip(c.uniform(0.25, 0.85) + 0.2 * (0.5 - masculine), 0.1, 1.0)
    shadow = c.chance(0.30) * (1 - masculine)
    p["lid_tint"] = shadow * c.uniform(0.15, 0.55)
    _set_colour(p, "lid", np.stack([c.uniform(0.15, 0.6), c.uniform(0.1, 0.4), c.uniform(0.2, 0.6)], axis=1))
    p["bag"] = c.uniform(-0.015, 0.035)
    p["ridge"] = c.uniform(0.0, 0.05) + 0.025 * masculine
    p["brow_x"] = p["eye_x"] + c.bell(-0.055, 0.065)
    p["brow_y"] = p["eye_y"] - p["eye_open"] - c.bell(0.075, 0.245)
    p["brow_w"] = c.bell(0.145, 0.275)
    p["brow_thick"] = c.bell(0.012, 0.066) + 0.016 * (masculine - 0.5)
    p["brow_arch"] = c.bell(-0.6, 3.0)
    p["brow_peak"] = c.bell(-0.3, 0.6)
    p["brow_tilt"] = c.bell(-0.33, 0.33)
    p["brow_taper"] = c.uniform(0.0, 0.9)
    p["brow_dense"] = c.uniform(0.45, 1.0)
    p["asym_brow"] = c.bell(-0.03, 0.03)
    p["asym_eye"] = c.bell(-0.018, 0.018)


def _nose_and_mouth(p: dict[str, Values], c: Columns, masculine: Values, tone: Values) -> None:
    p["nose_y"] = c.bell(0.24, 0.46)
    p["nose_w"] = c.bell(0.085, 0.205) + 0.025 * (tone - 0.5)
    p["bridge_w"] = c.bell(0.065, 0.13)
    p["bridge"] = c.bell(0.0, 0.11)
    p["hump"] = c.bell(-0.035, 0.06)
    p["tip"] = c.bell(0.12, 0.27)
    p["tip_w"] = c.bell(0.065, 0.135)
    p["ala"] = c.uniform(0.02, 0.09)
    p["nostril"] = c.bell(0.3, 1.2)
    p["upturn"] = c.bell(-0.035, 0.045)
    p["nose_skew"] = c.bell(-0.03, 0.03)
    p["mouth_y"] = p["nose_y"] + c.bell(0.155, 0.315)
    p["mouth_w"] = c.bell(0.165, 0.345)
    p["lip_upper"] = c.bell(0.010, 0.098) + 0.014 * (tone - 0.5) - 0.012 * (masculine - 0.5)
    p["lip_upper"] = np.maximum(p["lip_upper"], 0.012)
    p["lip_lower"] = np.maximum(c.bell(0.025, 0.135) - 0.012 * (masculine - 0.5), 0.02)
    p["bow"] = c.uniform(0.0, 0.6)
    p["corner"] = c.bell(-0.07, 0.04)
    p["asym_mouth"] = c.bell(-0.025, 0.025)
    p["philtrum"] = c.uniform(0.0, 0.035)
    p["pout"] = c.uniform(0.02, 0.08)
    # Lips: the skin's own colour made darker and redder; lipstick for some.
    skin = _get_colour(p, "skin")
    redder = skin * np.stack([c.uniform(0.78, 0.96), c.uniform(0.52, 0.80), c.uniform(0.55, 0.85)], axis=1)
    paint = np.stack([c.uniform(0.45, 0.85), c.uniform(0.06, 0.30), c.uniform(0.10, 0.36)], axis=1)
    lipstick = (c.chance(0.45) * (masculine < 0.5) * c.uniform(0.3, 0.9))[:, None]
    _set_colour(p, "lip", redder + lipstick * (paint - redder))


def _marks(p: dict[str, Values], c: Columns, tone: Values, age: Values) -> None:
    old = np.clip((age - 0.35) / 0.65, 0.0, 1.0)
    p["fold"] = np.clip(c.uniform(-0.02, 0.05) + 0.06 * old, 0.0, None)
    p["fold_out"] = c.uniform(0.04, 0.13)
    p["forehead_lines"] = np.clip(c.uniform(-0.5, 0.4) + old, 0.0, 1.2)
    p["forehead_frequency"] = c.uniform(5.0, 9.0)
    p["frown_lines"] = np.clip(c.uniform(-0.6, 0.5) + 0.7 * old, 0.0, 1.0)
    p["crow_feet"] = np.clip(c.uniform(-0.5, 0.3) + old, 0.0, 1.0)
    p["freckles"] = np.clip(c.uniform(-0.9, 0.42), 0.0, None) * np.clip(1.2 - 1.5 * tone, 0.0, 1.0)
    p["freckle_phase_u"], p["freckle_phase_v"] = c.uniform(0.0, 1.0), c.uniform(0.0, 1.0)
    for mole in range(NUM_MOLES):
        present = c.chance(0.2)
        p[f"mole_{mole}_u"], p[f"mole_{mole}_v"] = c.uniform(-0.5, 0.5), c.uniform(-0.5, 0.85)
        p[f"mole_{mole}_radius"] = c.uniform(0.022, 0.042)
        p[f"mole_{mole}_dark"] = present * c.uniform(0.35, 0.85)
    p["scar"] = c.chance(0.12) * c.uniform(0.12, 0.3) * np.where(c.chance(0.5) > 0, 1.0, -1.0)
    p["scar_u"], p["scar_v"] = c.uniform(-0.45, 0.45), c.uniform(-0.4, 0.7)
    p["scar_slope"], p["scar_length"] = c.uniform(-1.5, 1.5), c.uniform(0.08, 0.22)


def _hair(p: dict[str, Values], c: Columns, masculine: Values, age: Values, tone: Values) -> None:
    n = len(masculine)
    lightness = c.uniform(0.0, 1.0) * np.where(tone > 0.45, np.where(c.chance(0.12) > 0, 0.8, 0.30), 1.0)
    colour = _interpolate(HAIR, lightness)
    red = (c.chance(0.16) * (tone < 0.55))[:, None]
    colour = colour + red * (_interpolate(RED_HAIR, c.uniform(0.0, 1.0)) - colour)
    grey = np.clip((age - 0.45) * c.uniform(0.0, 4.0), 0.0, 1.0) * c.uniform(0.5, 1.0)
    silver = np.repeat(c.uniform(0.42, 0.86)[:, None], 3, axis=1)
    brow_colour = colour + 0.5 * grey[:, None] * (silver - colour)
    colour = colour + grey[:, None] * (silver - colour)
    dyed = (c.chance(0.03) * c.uniform(0.4, 0.9))[:, None]
    dye = np.stack([c.uniform(0.1, 0.8), c.uniform(0.1, 0.6), c.uniform(0.1, 0.8)], axis=1)
    _set_colour(p, "hair", colour + dyed * (dye - colour))
    _set_colour(p, "brow", brow_colour * c.uniform(0.45, 0.95)[:, None])

    # One of eight cuts sets the ranges; within each, everything is continuous.
    short_cuts = np.array([0.14, 0.14, 0.26, 0.16, 0.06, 0.10, 0.04, 0.10])  # masculine
    long_cuts = np.array([0.01, 0.02, 0.10, 0.05, 0.17, 0.32, 0.18, 0.15])
    weights = long_cuts + (short_cuts - long_cuts) * (masculine > 0.5)[:, None]
    pick = c.fraction()
    cut = np.minimum(
        (pick[:, None] > np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)).sum(1), 7
    )
    bald, shaved, _short, quiff, bob, long, fringe, curly = (cut == index for index in range(8))
    everyone = np.ones(n)

    def choose(default: Values, *cases: tuple[NDArray[np.bool_], Values]) -> Values:
        chosen = default
        for where, value in cases:
            chosen = np.where(where, value, chosen)
        return chosen

    p["hair_cover"] = choose(everyone, (bald, c.chance(0.4) * 0.9), (shaved, c.uniform(0.35, 0.8)))
    p["hair_top"] = choose(
        c.uniform(0.05, 0.14),
        (bald | shaved, 0.005 * everyone),
        (quiff, c.uniform(0.13, 0.26)),
        (bob | long | fringe, c.uniform(0.06, 0.18)),
        (curly, c.uniform(0.12, 0.34)),
    )
    p["hair_side"] = choose(
        c.uniform(0.01, 0.07),
        (bald | shaved, 0.003 * everyone),
        (bob | long | fringe, c.uniform(0.05, 0.16)),
        (curly, c.uniform(0.06, 0.30)),
    )
    receding = np.clip(c.uniform(-0.6, 0.7) + 0.4 * age, 0.0, 1.0) * (masculine > 0.5)
    p["hairline"] = (
        choose(c.bell(-0.74, -0.44), (bald, -1.05 * everyone), (fringe, c.uniform(-0.40, -0.24)))
        - 0.16 * receding * ~fringe
    )
    p["hairline_side"] = choose(
        c.uniform(2.5, 6.5), (fringe, c.uniform(0.5, 3.0)), (bald, c.uniform(3.0, 5.5))
    )
    p["recede"] = 0.24 * receding
    p["peak"] = c.uniform(-0.02, 0.12)
    p["sweep"] = choose(c.bell(-0.25, 0.25), (quiff | bob | long, c.bell(-0.9, 0.9)), (bald, 0 * everyone))
    p["part"] = c.uniform(-0.45, 0.45)
    p["part_open"] = choose(0 * everyone, (bob | long, np.clip(c.uniform(-0.25, 0.35), 0.0, None)))
    p["sideburn"] = choose(c.uniform(-0.12, 0.30), (bald, c.uniform(-0.1, 0.15)))
    p["hair_length"] = choose(
        -1.2 * everyone,
        (bob, c.uniform(0.30, 0.95)),
        (long, c.uniform(0.95, 1.9)),
        (fringe, c.uniform(0.1, 1.7)),
        (curly & (masculine < 0.5), c.uniform(0.0, 1.3)),
    )
    p["lock_inner"] = p["width"] * c.uniform(0.80, 1.02)
    p["lock_outer"] = p["width"] + p["hair_side"] + c.uniform(-0.01, 0.07)
    p["lock_flare"] = c.uniform(-0.08, 0.26)
    p["wave"] = choose(c.uniform(0.0, 0.03), (curly, c.uniform(0.03, 0.08)), (long, c.uniform(0.0, 0.06)))
    p["wave_frequency"] = choose(c.uniform(1.0, 2.2), (curly, c.uniform(1.6, 3.2)))
    p["hair_jag"] = choose(
        c.uniform(0.0, 0.06), (quiff, c.uniform(0.02, 0.09)), (bald | shaved, 0 * everyone)
    )
    p["strand_frequency"] = choose(c.uniform(3.0, 7.0), (curly, c.uniform(2.0, 4.0)))
    p["strand"] = choose(c.uniform(0.12, 0.42), (curly, c.uniform(0.2, 0.36)))
    p["curl"] = choose(0 * everyone, (curly, c.uniform(0.5, 1.0)))
    p["hair_gloss"] = c.uniform(0.0, 0.30)
    p["streak"] = c.chance(0.14) * c.uniform(0.2, 0.6) * (1 - p["curl"])
    p["bun"] = c.chance(0.22) * (long | bob) * c.uniform(0.18, 0.34)
    p["hair_length"] = np.where((p["bun"] > 0) & (c.chance(0.75) > 0), -1.2, p["hair_length"])


def _facial_hair(p: dict[str, Values], c: Columns, masculine: Values) -> None:
    man = masculine > 0.5
    stubble = man * np.clip(c.uniform(-0.5, 0.45), 0.0, None)
    beard = man * c.chance(0.28) * c.uniform(0.65, 1.0)
    moustache = man * c.chance(0.20) * c.uniform(0.7, 1.0)
    goatee = man * c.chance(0.16) * c.uniform(0.7, 1.0)
    p["beard"] = np.maximum(beard, stubble)
    p["beard_top"] = c.uniform(0.30, 0.62)
    p["beard_inner"] = c.uniform(0.24, 0.46)
    p["moustache"] = np.maximum.reduce([moustache, stubble, beard * c.chance(0.85)])
    p["moustache_w"] = c.uniform(0.8, 1.45)
    p["goatee"] = np.maximum.reduce([goatee, stubble, beard])
    p["goatee_w"] = c.uniform(0.10, 0.28)
    p["beard_length"] = beard * c.uniform(0.0, 0.22)


def _interpolate(anchors: NDArray[np.float64], position: Values) -> NDArray[np.float64]:
    """Colours (N, 3) at positions in [0, 1] along a line through the anchors."""
    grid = np.linspace(0.0, 1.0, len(anchors))
    return np.stack([np.interp(position, grid, anchors[:, channel]) for channel in range(3)], axis=1)


def _set_colour(p: dict[str, Values], name: str, colour: NDArray[np.float64]) -> None:
    for channel, letter in enumerate("rgb"):
        p[f"{name}_{letter}"] = np.clip(colour[:, channel], 0.02, 1.0)


def _get_colour(p: dict[str, Values], name: str) -> NDArray[np.float64]:
    return np.stack([p[f"{name}_{letter}"] for letter in "rgb"], axis=1)


# The heights t at which the outline's half width is given: temple, eyes, jaw, chin.
OUTLINE_HEIGHTS = np.array([-0.6, 0.0, 0.55, 0.88])


def _outline_coefficients(temple: Values, width: Values, jaw: Values, chin: Values) -> NDArray[np.float64]:
    """C of half_width(t)^2 = (1 - t^2) (c0 + c1 t + c2 t^2 + c3 t^3) through four half widths: (N, 4)."""
    squared = np.stack([temple, width, jaw, chin], axis=1) ** 2 / (1 - OUTLINE_HEIGHTS**2)
    inverse = np.linalg.inv(OUTLINE_HEIGHTS[:, None] ** np.arange(4))
    # Spelled out as a sum: a matrix product may round differently with the number of people.
    return sum((squared[:, [k]] * inverse[None, :, k] for k in range(4)), np.zeros((len(width), 4)))
