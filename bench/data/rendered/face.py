"""The face: relief, light, skin, eyes, brows, nose, mouth, beard."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.data.rendered.geometry import (
    Colour,
    Parameters,
    View,
    bump,
    colour,
    inside,
    paint,
    present,
    ramp,
    slopes,
    wave,
)
from bench.data.rendered.identity import NUM_MOLES


@dataclass(frozen=True)
class Mouth:
    """The lines of the mouth at every pixel, y relative to its middle line.

    Args:
        x: across, -1 and 1 at the corners.
        y: below the middle line.
        arch: 1 in the middle, 0 at the corners and beyond.
        upper: where the upper lip begins (negative).
        lower: where the lower lip ends.
        gap: half opening.
        scale: half width, smile included.
    """

    x: Tensor
    y: Tensor
    arch: Tensor
    upper: Tensor
    lower: Tensor
    gap: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Nose:
    """Coordinates on the nose, which sticks out and so moves more than the face when the head turns.

    Args:
        u: across, 0 on its ridge.
        v: down.
        along: 0 between the eyes, 1 at the tip.
        side: |u|.
    """

    u: Tensor
    v: Tensor
    along: Tensor
    side: Tensor


def nose_lines(p: Parameters, view: View) -> Nose:
    """Where the nose is under the picture's pose."""
    start = p["eye_y"] - 0.04
    along = ((view.v - start) / (p["nose_y"] - start)).clamp_(0.0, 1.15)
    out = p["bridge"] + (p["tip"] - p["bridge"]) * along * along
    u = view.u - out * p["sin_yaw"] - p["nose_skew"] * along
    v = view.v + out * p["sin_pitch"]
    return Nose(u, v, along, u.abs())


def mouth_lines(p: Parameters, view: View) -> Mouth:
    """Lips under the person's shape and the picture's expression."""
    scale = p["mouth_w"] * (1.0 + 0.16 * p["smile"] - 0.8 * p["open"])
    # The mouth lies in front of the head's axis a little more than the cheeks do.
    u = view.u - 0.05 * p["sin_yaw"]
    x = u / scale
    squared = x * x
    arch = (1.0 - squared).clamp_(min=0.0)
    bend = (p["corner"] - 0.055 * p["smile"]) * squared.clamp(max=1.6)
    middle = p["mouth_y"] + 0.25 * p["open"] + 0.02 * p["smile"]
    y = view.v - middle - bend - p["asym_mouth"] * x
    gap = p["open"] * arch
    bow = p["bow"] * bump(x * 3.2)
    tight = 1.0 - 0.22 * p["smile"]
    upper = -(p["lip_upper"] * tight) * (arch * (1.35 - 0.5 * arch)) * (1.0 - bow) - gap * 0.8
    lower = (p["lip_lower"] * tight) * arch * (1.25 - 0.25 * arch) + gap
    return Mouth(x, y, arch, upper, lower, gap, scale)


def relief(p: Parameters, view: View, nose: Nose, mouth: Mouth) -> Tensor:
    """Height of nose, brows, cheeks, lips, folds over the head's ellipsoid, plus the ellipsoid."""
    u, v, mirrored = view.u, view.v, view.mirrored
    nose_u, nose_v, along = nose.u, nose.v, nose.along
    nose_y = p["nose_y"]

    wide = p["bridge_w"] + (p["nose_w"] * 0.92 - p["bridge_w"]) * along * along
    crest = p["bridge"] + p["hump"] * (along * (1.0 - along) * 4.0).clamp_(min=0.0)
    crest = (crest + (p["tip"] * 0.72 - p["bridge"]) * along * along) * ramp(along * 3.5)
    below = (nose_y + 0.09 - nose_v) * 9.0
    height = view.z + crest * bump(nose_u / wide) * ramp(below)
    height += p["tip"] * 0.30 * bump(nose_u / p["tip_w"], (nose_v - nose_y + p["upturn"]) * 9.0)
    nose_side = nose.side - p["nose_w"] * 0.72
    height += p["ala"] * bump(nose_side * 15.0, (nose_v - nose_y - 0.005) * 12.0)

    eye_u, eye_v = mirrored - p["eye_x"], v - p["eye_y"]
    height -= 0.062 * bump(eye_u * 3.6, eye_v * 5.5)
    height += 0.040 * bump(eye_u * 6.0, eye_v * 8.0)
    height += (p["ridge"] + 0.01) * bump((mirrored - p["brow_x"]) * 3.6, (v - p["brow_y"]) * 8.0)
    height += p["bag"] * bump(eye_u * 6.5, (eye_v - 0.15) * 14.0)
    smile = p["smile"].clamp(min=0.0)
    height += (p["cheekbone"] + 0.035 * smile) * bump(
        (mirrored - 0.62 * p["width"]) * 3.8, (v - p["cheekbone_y"] + 0.06 * smile) * 4.5
    )
    height += p["cheek_full"] * bump((mirrored - 0.36) * 4.0, (v - 0.48) * 3.4)
    height += p["forehead_bump"] * bump(u * 2.2, (v + 0.50) * 3.6)

    # From the wing of the nose to beyond the corner of the mouth.
    fall = (v - nose_y + 0.03) / (p["mouth_y"] + 0.05 - nose_y)
    line = mirrored - (p["nose_w"] + 0.02) - (p["mouth_w"] + p["fold_out"] - p["nose_w"]) * fall * 0.9
    deep = p["fold"] * (0.55 + 0.9 * smile)
    height -= deep * bump(line * 13.0) * bump((fall - 0.5) * 1.55)
    height += deep * 0.8 * bump((line - 0.09) * 8.0) * bump((fall - 0.5) * 1.55)

    lips = mouth.arch * p["pout"]
    height += lips * bump((mouth.y - 0.55 * mouth.upper) * 14.0)
    height += lips * 1.25 * bump((mouth.y - 0.55 * mouth.lower) * 11.0)
    chin_v = v - 0.86 * p["length"] - 0.3 * p["open"]
    height -= 0.045 * bump(u * 4.0, (mouth.y - mouth.lower - 0.055) * 13.0)
    height += p["chin_bump"] * bump(u / (p["chin_width"] + 0.12), chin_v * 6.0)
    height -= p["cleft"] * bump(u * 22.0, chin_v * 7.0)
    middle = (nose_y + p["mouth_y"]) * 0.5
    height -= p["philtrum"] * bump(mouth.x * mouth.scale * 24.0, (v - middle) * 8.0)

    if present(p["forehead_lines"]):
        forehead = bump(u * 2.1, (v + 0.48) * 4.2)
        lines = p["forehead_lines"] * (0.012 + 0.12 * p["raise"].clamp(min=0.0))
        height += lines * forehead * wave(v * p["forehead_frequency"] + 0.35 * u * u)
    frown = p["frown_lines"] + 6.0 * p["frown"].clamp(min=0.0)
    height -= 0.022 * frown * bump((mirrored - 0.05) * 26.0, (v - p["brow_y"] - 0.02) * 8.0)
    return height


def light(p: Parameters, view: View, height: Tensor) -> tuple[Tensor, Tensor]:
    """Diffuse light on the relief, and its gloss."""
    across, down = slopes(height, view.px)
    across.clamp_(-2.2, 2.2)
    down.clamp_(-2.2, 2.2)
    length = (across * across + down * down + 1.0).sqrt_()
    facing = (p["light_z"] - across * p["light_x"] - down * p["light_y"]) / length
    # Wrapped Lambert: skin scatters light around the edge of the shadow.
    diffuse = ((facing + 0.25) * 0.8).clamp_(min=0.0)
    shade = p["ambient"] * (0.72 + 0.28 / length) + (1.08 - p["ambient"]) * diffuse
    edge = (1.0 - 1.0 / length).clamp_(min=0.0) * (-across * p["rim_side"]).clamp_(0.0, 1.0)
    shade += p["rim"] * edge
    # Blinn-Phong against the half vector between light and camera.
    half_z = p["light_z"] + 1.0
    half_norm = (p["light_x"] ** 2 + p["light_y"] ** 2 + half_z * half_z).sqrt()
    shine = (half_z - across * p["light_x"] - down * p["light_y"]) / (length * half_norm)
    shine = shine.clamp_(min=0.0)
    for _ in range(4):
        shine = shine * shine
    return shade, shine * p["gloss"]


def skin(p: Parameters, view: View, nose: Nose, mouth: Mouth) -> list[Tensor]:
    """Colour of the skin before light: blush, shadows that never see light, marks."""
    v, mirrored = view.v, view.mirrored
    nose_u, nose_v = nose.u, nose.v
    eye_u, eye_v = mirrored - p["eye_x"], v - p["eye_y"]

    red = p["blush"] * bump((mirrored - 0.60 * p["width"]) * 3.4, (v - 0.27) * 3.8)
    red += p["nose_blush"] * bump(nose_u * 6.0, (nose_v - p["nose_y"]) * 5.0)

    dark = p["under_eye"] * bump(eye_u * 5.0, (eye_v - 0.115) * 9.5)
    dark += p["socket_dark"] * bump(eye_u * 4.0 + 0.35, (eye_v + 0.02) * 6.0)
    # Contact shadows: beside the wings of the nose and under its tip.
    beside = nose.side - p["nose_w"] * 1.02
    dark += 0.22 * bump(beside * 17.0, (nose_v - p["nose_y"] - 0.01) * 10.0)
    dark += 0.20 * bump(nose_u / (p["nose_w"] * 0.95), (nose_v - p["nose_y"] - 0.075) * 13.0)
    dark += 0.16 * bump(mouth.x * 1.25, (mouth.y - mouth.lower - 0.035) * 15.0)
    if present(p["crow_feet"]):
        crow = bump((eye_u - p["eye_w"] - 0.07) * 11.0, eye_v * 7.0)
        dark += (0.22 * p["crow_feet"]) * crow * ramp(wave(eye_v * 11.0 - eye_u * 3.0))
    for mole in range(NUM_MOLES):
        if not present(p[f"mole_{mole}_dark"]):
            continue
        radius = p[f"mole_{mole}_radius"]
        spot = bump((view.u - p[f"mole_{mole}_u"]) / radius, (v - p[f"mole_{mole}_v"]) / radius)
        dark += p[f"mole_{mole}_dark"] * (spot * 1.6).clamp_(max=1.0)
    if present(p["scar"]):
        scar_u, scar_v = view.u - p["scar_u"], v - p["scar_v"]
        across = scar_u - p["scar_slope"] * scar_v
        dark += p["scar"] * bump(across * 30.0) * bump(scar_v / p["scar_length"])
    if present(p["freckles"]):
        dark += p["freckles"] * _freckles(p, view)

    keep = (1.0 - dark).clamp_(min=0.05)
    base = colour(p, "skin")
    return [
        base[0] * (1.0 - 0.06 * red) * keep,
        base[1] * (1.0 - 1.05 * red) * (keep * (0.25 + 0.75 * keep)),
        base[2] * (1.0 - 0.90 * red) * (keep * (0.30 + 0.70 * keep)),
    ]


def _freckles(p: Parameters, view: View) -> Tensor:
    """Spots over nose and cheeks, spread by waves whose periods have no common multiple."""
    u, v = view.u, view.v
    speckle = wave(u * 8.3 + v * 3.1 + p["freckle_phase_u"]) * wave(v * 9.1 - u * 2.7 + p["freckle_phase_v"])
    speckle += 0.6 * wave(u * 5.7 - v * 6.1 + p["freckle_phase_v"])
    return bump(u * 1.7, (v - 0.18) * 2.6) * ((speckle - 0.35) * 2.0).clamp_(0.0, 1.0)


def eyes(p: Parameters, view: View, face: list[Tensor]) -> None:
    """Sclera, iris, pupil, lids, lashes of both eyes at once, on the mirrored face."""
    px = view.px
    eye_u = view.mirrored - p["eye_x"]
    eye_v = view.v - p["eye_y"] - p["asym_eye"] * view.side + p["eye_tilt"] * eye_u
    x = eye_u / p["eye_w"]
    arch = (1.0 - x * x).clamp_(min=0.0)
    skewed = arch * (1.0 + p["eye_skew"] * x)
    opening = p["eye_open"] * (1.0 - p["close"]) * (1.0 - 0.18 * p["smile"].clamp(min=0.0))
    shut = p["eye_open"] * p["close"].clamp(min=0.0)
    top = shut * 0.45 * arch - opening * skewed * (1.15 - 0.15 * arch)
    bottom = (opening * p["eye_lower"] + shut * 0.45) * arch
    white = inside(torch.maximum(top - eye_v, eye_v - bottom), px) * inside(x.abs() - 1.0, 0.1)

    lid_v = eye_v - top
    if present(p["lid_tint"]):
        lid = bump(x * 0.86, (lid_v + 0.045) * 14.0)
        paint(face, lid * p["lid_tint"], colour(p, "lid"))
    crease = bump((lid_v + p["crease_y"]) / (px * 0.7 + 0.016)) * bump(x * 0.84)
    dark = _scaled(colour(p, "skin"), 0.38)
    paint(face, crease * p["crease"] * 0.75, dark)

    # The white is never white: it lies in the shadow of the upper lid.
    shadow = 0.80 - 0.34 * inside(lid_v - 0.028, 0.05)
    for channel, tint in zip(face, (1.0, 0.965, 0.945), strict=True):
        channel.lerp_(shadow * tint, white)

    # Gaze is the same for both eyes, so on the mirrored face it changes sign.
    ball_u = eye_u - p["gaze_x"] * view.side
    ball_v = eye_v - p["gaze_y"] + 0.10 * p["eye_open"]
    radius = p["iris"]
    ball = (ball_u * ball_u + ball_v * ball_v + 1e-8).sqrt_()
    iris = inside(ball - radius, px) * white
    paint(face, iris, _scaled(colour(p, "iris"), 0.42))
    paint(face, inside(ball - radius * 0.80, px) * white * 0.92, colour(p, "iris"))
    paint(face, inside(ball - radius * 0.42, px) * white, _grey(p, 0.02))
    glint_u = eye_u * view.side - p["gaze_x"] - 0.028 * p["light_x"]
    glint = inside(((glint_u * glint_u) + (ball_v + 0.026) ** 2).sqrt_() - 0.016, px) * white
    paint(face, glint * 0.85, _grey(p, 0.95))

    thick = 0.010 + 0.020 * p["lash"]
    lash = inside(lid_v.abs() - thick * (0.6 + 0.4 * x), px) * (arch * 3.0).clamp_(max=1.0)
    paint(face, lash * (0.45 + 0.5 * p["lash"]), _grey(p, 0.06))
    under = bump((eye_v - bottom) / (px * 0.7 + 0.014)) * (arch * 2.0).clamp_(max=1.0)
    paint(face, under * (0.18 + 0.30 * p["lash"]), dark)


def brows(p: Parameters, view: View, face: list[Tensor]) -> None:
    """Both brows; they thin out towards the temple, arch, tilt, and move with the expression."""
    x = (view.mirrored - p["brow_x"]) / p["brow_w"]
    lift = p["raise"] * (1.0 + 0.3 * x) - p["frown"] * (0.45 - 0.4 * x).clamp(min=0.0)
    peak = x - p["brow_peak"]
    line = p["brow_y"] - lift + p["brow_arch"] * 0.045 * peak * peak - p["brow_tilt"] * p["brow_w"] * x
    y = view.v - line - p["asym_brow"] * view.side
    thick = p["brow_thick"] * (1.0 - p["brow_taper"] * x.clamp(-1.0, 1.0))
    soft = view.px + 0.022
    cover = inside(y.abs() - thick, soft) * ((1.0 - x.abs()) * 4.5).clamp_(0.0, 1.0)
    grain = 0.85 + 0.15 * wave(view.u * 9.0 + view.v * 5.0)
    paint(face, cover * p["brow_dense"] * grain, colour(p, "brow"))


def nostrils(p: Parameters, nose: Nose, face: list[Tensor]) -> None:
    """Two dark openings; more is seen of them when the nose is turned up or the head is thrown back."""
    x = (nose.side - p["nose_w"] * 0.44) / (p["nose_w"] * 0.30)
    open_v = 0.020 + 0.035 * p["nostril"] * (0.6 + 6.0 * p["upturn"].clamp(min=0.0))
    open_v = open_v * (1.0 - 1.2 * p["sin_pitch"]).clamp(0.4, 1.6)
    hole = bump(x * 0.8, (nose.v - p["nose_y"] - 0.052) / open_v)
    paint(face, (hole * 1.5).clamp_(max=0.88), _scaled(colour(p, "skin"), 0.18))


def lips(p: Parameters, view: View, mouth: Mouth, face: list[Tensor]) -> None:
    """Upper lip darker than the lower one, a line between them, teeth and dark when the mouth is open."""
    px = view.px
    y, gap = mouth.y, mouth.gap
    cover = inside(torch.maximum(mouth.upper - y, y - mouth.lower), px + 0.014)
    cover *= inside(mouth.x.abs() - 1.0, 0.14)
    upper = inside(y, px + 0.012)
    tone = 1.0 - 0.20 * upper + 0.10 * bump((y - 0.5 * mouth.lower) * 13.0, mouth.x * 1.6)
    for channel, value in zip(face, colour(p, "lip"), strict=True):
        channel.lerp_(value * tone, cover * 0.92)
    side = mouth.x.abs()
    line = bump(y / (px * 0.7 + 0.016)) * inside(side - 1.02, 0.12)
    if present(p["open"]):
        hole = inside(torch.maximum(-0.8 * gap - y, y - gap), px) * (gap * 30.0).clamp_(max=1.0)
        paint(face, hole, _scaled(colour(p, "lip"), 0.22))
        teeth = hole * inside(y + 0.8 * gap - 0.055, px) * (0.55 + 0.4 * p["smile"].clamp(0.0, 1.0))
        paint(face, teeth * inside(side - 0.72, 0.25), _grey(p, 0.86))
        line *= 1.0 - hole
    paint(face, line * 0.75, _scaled(colour(p, "lip"), 0.30))


def facial_hair(p: Parameters, view: View, mouth: Mouth, face: list[Tensor]) -> None:
    """Beard along the jaw, moustache, goatee; stubble is the same, thinner."""
    if not any(present(p[name]) for name in ("beard", "moustache", "goatee")):
        return
    u, v, mirrored = view.u, view.v, view.mirrored
    # The cheek line runs from the sideburn down to the corner of the mouth.
    line = p["beard_top"] + (0.62 * p["width"] + 0.12 - mirrored) * 0.85
    cheeks = ramp((v - line) * 7.0) * ramp(
        (mirrored - p["beard_inner"]) * 9.0 + 6.0 * (v - p["mouth_y"] - 0.12)
    )
    cover = p["beard"] * cheeks
    nose_gap = p["mouth_y"] - p["nose_y"]
    above = v - p["nose_y"] - 0.42 * nose_gap - 0.10 * mirrored - 0.05
    lip_hair = ramp((0.30 * nose_gap + 0.03 - above.abs()) * 14.0)
    lip_hair = lip_hair * inside(mirrored - p["mouth_w"] * p["moustache_w"], 0.08)
    lip_hair = lip_hair * inside(v - p["mouth_y"] - 0.02, 0.06)
    cover = torch.maximum(cover, p["moustache"] * lip_hair)
    chin = ramp((mouth.y - mouth.lower - 0.03) * 12.0) * inside(mirrored - p["goatee_w"], 0.10)
    cover = torch.maximum(cover, p["goatee"] * chin)
    grain = 0.80 + 0.20 * wave(u * 7.0 + 0.4 * v) * wave(v * 4.0 - u)
    cover = (cover * grain).clamp_(0.0, 1.0)
    cover *= 1.0 - inside(torch.maximum(mouth.upper - mouth.y, mouth.y - mouth.lower), 0.03) * (
        mouth.arch * 4.0
    ).clamp_(max=1.0)
    paint(face, cover * 0.92, _scaled(colour(p, "brow"), 1.05))


def _scaled(base: Colour, factor: float) -> Colour:
    return base[0] * factor, base[1] * factor, base[2] * factor


def _grey(p: Parameters, value: float) -> Colour:
    plane = torch.full_like(p["scale"], value)
    return plane, plane, plane
