"""Hair of the head: what falls behind the neck, and what lies on and before the head."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.rendered.geometry import Parameters, View, bump, colour, inside, present, ramp, wave


def _is_long(p: Parameters) -> bool:
    """Whether anybody's hair falls below the crown."""
    return bool((p["hair_length"] > -1.0).any())


def _locks(p: Parameters, view: View) -> tuple[Tensor, Tensor]:
    """|x| from the middle of the hanging hair, and its outer edge there."""
    across = (view.x - p["sin_yaw"] * 0.10 * view.y).abs()
    waviness = p["wave"] * wave(view.y * p["wave_frequency"] + p["hair_tangle"])
    below, above = view.y.clamp(min=0.0), view.y.clamp(max=0.0)
    outer = p["lock_outer"] + p["lock_flare"] * below - 0.7 * above * above + waviness + p["hair_more"]
    return across, outer


def back(p: Parameters, view: View) -> Tensor:
    """Cover of long hair behind neck and shoulders."""
    if not _is_long(p):
        return torch.zeros_like(view.x)
    across, outer = _locks(p, view)
    ends = view.y - p["hair_length"] - 0.10 * wave(view.x * 2.6 + p["hair_tangle"])
    return inside(torch.maximum(across - outer, ends), view.px + 0.04) * inside(-view.y - 0.35, 0.2)


def front(p: Parameters, view: View) -> Tensor:
    """Cover of the hair on the scalp, above the hairline, around the head, and locks before the cheeks."""
    u, v, px = view.u, view.v, view.px
    on_top = ramp(-view.y * 1.15)
    volume = (
        p["hair_side"] + (p["hair_top"] - p["hair_side"]) * on_top + p["hair_more"] * p["hair_cover"] * 0.6
    )
    # Volume leans to the side that the hair is swept to.
    volume = volume * (1.0 + 0.35 * p["sweep"] * (view.x * 2.0).clamp(-1.0, 1.0))
    if present(p["curl"]):
        volume = volume + p["curl"] * 0.045 * wave(view.x * 3.1 + p["hair_tangle"]) * wave(view.y * 2.9)
    volume = volume * ramp((0.32 - view.y) * 2.2)  # short hair lies close at the ears
    outline = view.outside - volume.clamp(min=0.0)

    squared = u * u
    line = p["hairline"] + p["hairline_more"] + p["hairline_side"] * squared * squared
    line = line + (p["sweep"] + p["sweep_more"]) * 0.35 * (u - p["part"] * 0.5)
    line = line - p["recede"] * bump((view.mirrored - 0.34) * 3.6) + p["peak"] * bump(u * 6.0)
    line = line - p["part_open"] * bump((u - p["part"]) * 2.8)
    line = line + p["hair_jag"] * wave(u * p["strand_frequency"] * 0.55 + p["hair_tangle"])
    line = torch.minimum(line, p["sideburn"])
    # The back of the head carries hair down to the neck, whatever the hairline does.
    behind = ramp((-0.02 - view.w) * 8.0) * inside(view.y - 0.30, 0.2) * inside(view.outside, px)
    grown = torch.maximum(inside(v - line, px + 0.05), behind)
    cap = inside(outline, px + 0.02) * grown * p["hair_cover"]

    if _is_long(p):
        across, outer = _locks(p, view)
        ends = view.y - p["hair_length"] - 0.10 * wave(view.x * 2.6 + p["hair_tangle"])
        inner = p["lock_inner"] - across + 0.10 * (view.y - 0.2) + 0.25 * bump((view.y + 0.45) * 1.6)
        lock = inside(torch.maximum(torch.maximum(inner, across - outer), ends), px + 0.03)
        cap = torch.maximum(cap, lock * inside(-view.y - 0.42, 0.15))
    if present(p["bun"]):
        bun = view.x * view.x + (view.y + p["length"] + p["hair_top"] + p["bun"] * 0.45) ** 2
        knot = inside((bun + 1e-8).sqrt_() - p["bun"], px + 0.02) * (p["bun"] * 20.0).clamp(max=1.0)
        cap = torch.maximum(cap, knot)
    return cap


def shaded(p: Parameters, view: View) -> list[Tensor]:
    """Colour of the hair in its own light: strands that fan out from the parting, a band of gloss."""
    # Strands radiate from a point above the parting.
    fan = (view.x - p["part"] * 0.4) / (view.y.clamp(min=-1.25) + 2.1)
    tangled = fan * (p["strand_frequency"] * 3.0) + p["hair_tangle"]
    tangled = tangled + 0.45 * wave(fan * 2.3 + 0.5 * p["hair_tangle"] + 0.2 * view.y)
    strands = wave(tangled + 0.25 * view.y) + 0.6 * wave(tangled * 2.3 + 0.6 * view.y)
    if present(p["curl"]):
        strands = strands + p["curl"] * (1.6 * _curls(p, view) - strands)

    flat = view.x * view.x * 0.95 + (view.y + 0.05) ** 2 * 0.62
    normal_z = (1.0 - flat).clamp_(min=0.04).sqrt_()
    facing = view.x * 0.95 * p["light_x"] + (view.y + 0.05) * 0.75 * p["light_y"] + normal_z * p["light_z"]
    shade = p["ambient"] * 0.80 + (1.15 - p["ambient"]) * (facing * 0.85 + 0.15).clamp_(min=0.0)
    shade = shade * p["hair_light"] * (1.0 + p["strand"] * 0.55 * strands)
    gloss = p["hair_gloss"] * bump((view.y + 0.62 + 0.35 * view.x * view.x) * 3.4) * (1.0 + 0.5 * strands)
    planes = [channel + (0.30 + 0.55 * channel) * gloss for channel in colour(p, "hair")]
    if present(p["streak"]):
        streak = p["streak"] * ((strands - 0.35) * 1.2).clamp_(0.0, 1.0)
        for plane, channel, tint in zip(planes, colour(p, "hair"), (0.85, 0.72, 0.50), strict=True):
            plane += streak * (tint - channel)
    return [plane.mul_(shade) for plane in planes]


def _curls(p: Parameters, view: View) -> Tensor:
    """Two families of waves, each bent by the other coordinate, so that no grid shows."""
    bent_x = view.x * 4.7 + 0.55 * wave(view.y * 2.1 + p["hair_tangle"])
    bent_y = view.y * 4.3 + 0.55 * wave(view.x * 2.3 - 0.7 * view.y)
    return ramp(0.5 + 0.5 * wave(bent_x)) + ramp(0.5 + 0.5 * wave(bent_y + 0.5 * bent_x)) - 1.0
