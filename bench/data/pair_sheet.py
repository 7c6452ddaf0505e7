"""A picture of the hardest pairs: worst false accepts, worst false rejects, pairs at the threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bench.data.contact_sheet import GAP_PX, PAPER
from bench.data.faces import PairProtocol
from bench.verification import find_hardest

PAIRS_A_ROW = 8
_SIDE_PX = 96  # of every picture on the sheet; small ones are enlarged by whole pixels first
_TEXT_PX = 12
_LINE_PX = 18
_GREY = (85, 85, 85)

ImageOf = Callable[[int], NDArray[np.uint8]]


def save_hardest_pairs(
    path: Path, protocol: PairProtocol, distances: NDArray[np.float64], *, threshold: float
) -> None:
    """Draw the hardest pairs of a protocol whose images lie in memory (see `hardest_pairs_sheet`)."""
    sheet = hardest_pairs_sheet(
        lambda image: protocol.faces.images[image : image + 1][0],
        protocol.left,
        protocol.right,
        distances,
        protocol.same,
        threshold=threshold,
    )
    sheet.save(path)


def hardest_pairs_sheet(
    image_of: ImageOf,
    left: NDArray[np.integer],
    right: NDArray[np.integer],
    distances: NDArray[np.float64],
    same: NDArray[np.bool_],
    *,
    threshold: float,
) -> Image.Image:
    """Three rows of pairs, each with its index in the protocol and its distance.

    Args:
        image_of: index of an image -> its pixels (3, H, W).
        left: (P,) index of an image.
        right: (P,) index of an image.
        distances: (P,).
        same: (P,).
        threshold: accept means distance < threshold.
    """
    hardest = find_hardest(distances, same, threshold=threshold, count=PAIRS_A_ROW)
    num_genuine = int(np.count_nonzero(same))
    rows = (
        (
            f"false accepts: {hardest.num_false_accepts:,} of {len(same) - num_genuine:,} impostor pairs, "
            "the closest first",
            hardest.false_accepts,
        ),
        (
            f"false rejects: {hardest.num_false_rejects:,} of {num_genuine:,} genuine pairs, "
            "the farthest first",
            hardest.false_rejects,
        ),
        (f"at the threshold {threshold:.3f}: the nearest first", hardest.at_threshold),
    )
    cell_width, row_height = 2 * _SIDE_PX + 4 * GAP_PX, _SIDE_PX + 2 * _LINE_PX + 4 * GAP_PX
    sheet = Image.new("RGB", (PAIRS_A_ROW * cell_width, len(rows) * row_height), (PAPER,) * 3)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_TEXT_PX)
    for number, (title, pairs) in enumerate(rows):
        top = number * row_height
        draw.text((GAP_PX, top + GAP_PX), title, fill=(0, 0, 0), font=font)
        for column, pair in enumerate(pairs.tolist()):
            _draw_pair(
                sheet,
                (column * cell_width + GAP_PX, top + _LINE_PX + GAP_PX),
                [image_of(int(side[pair])) for side in (left, right)],
                f"pair {pair}  {'same' if same[pair] else 'different'}  {distances[pair]:.3f}",
                font,
            )
    return sheet


def _draw_pair(
    sheet: Image.Image,
    corner: tuple[int, int],
    images: Sequence[NDArray[np.uint8]],
    caption: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    x, y = corner
    for position, pixels in enumerate(images):
        sheet.paste(_to_side(pixels), (x + position * (_SIDE_PX + GAP_PX), y))
    ImageDraw.Draw(sheet).text((x, y + _SIDE_PX + GAP_PX), caption, fill=_GREY, font=font)


def _to_side(pixels: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    zoom = _SIDE_PX // max(picture.size)
    if zoom > 1:  # what the network saw, pixel by pixel, rather than smoothed
        picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    return picture.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
