"""What a person should know after an alignment: a table, and a sheet of pictures to look at."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw

from bench.data.align.image import THUMB_PX, Outcome
from bench.data.align.journal import Journal
from bench.data.align.landmarks import COLUMNS
from bench.results import atomic_file

_BOX = ("x1", "y1", "x2", "y2")
HEADER = ("file", "status", "reason", "output", "num_faces", "confidence", *_BOX, *COLUMNS)

# The sheet: as many pictures as a person looks through.
TILES = 240
_PER_ROW = 12
_CAPTION_PX = 34
_GAP_PX = 4


def write_report(path: Path, journal: Journal) -> int:
    """Every picture that is unreadable, without a face or doubtful, one a row; returns how many."""
    count = 0
    with atomic_file(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADER)
        for outcome in journal.reported():
            writer.writerow(_row(outcome))
            count += 1
        text.flush()
        text.detach()  # the file stays open for whoever made it
    return count


def _row(outcome: Outcome) -> list[str]:
    confidence = "" if math.isnan(outcome.confidence) else f"{outcome.confidence:.4f}"
    box, points = ([f"{value:.2f}" for value in values] for values in (outcome.box, outcome.landmarks))
    return [
        outcome.name,
        outcome.status,
        outcome.reason,
        outcome.output,
        str(outcome.num_faces),
        confidence,
        *(box or [""] * len(_BOX)),
        *(points or [""] * len(COLUMNS)),
    ]


def write_sheet(path: Path, journal: Journal) -> None:
    """The first TILES of them as one PNG: picture, chosen face in green, others in red, name and reason."""
    shown = list(islice(_shown(journal), TILES))
    rows = max(1, -(-len(shown) // _PER_ROW))
    columns = min(_PER_ROW, max(1, len(shown)))
    step_x, step_y = THUMB_PX + _GAP_PX, THUMB_PX + _CAPTION_PX + _GAP_PX
    sheet = Image.new("RGB", (columns * step_x + _GAP_PX, rows * step_y + _GAP_PX), "white")
    for position, outcome in enumerate(shown):
        row, column = divmod(position, _PER_ROW)
        sheet.paste(_tile(outcome), (_GAP_PX + column * step_x, _GAP_PX + row * step_y))
    with atomic_file(path) as stream:
        sheet.save(stream, "PNG")


def _shown(journal: Journal) -> Iterator[Outcome]:
    """Those that have a picture left, and unreadable files, which never had one."""
    return (outcome for outcome in journal.reported() if outcome.thumb or outcome.status == "unreadable")


def _tile(outcome: Outcome) -> Image.Image:
    tile = Image.new("RGB", (THUMB_PX, THUMB_PX + _CAPTION_PX), "white")
    draw = ImageDraw.Draw(tile)
    if outcome.thumb:
        with Image.open(io.BytesIO(outcome.thumb)) as thumb:
            tile.paste(thumb, ((THUMB_PX - thumb.width) // 2, (THUMB_PX - thumb.height) // 2))
    else:
        draw.rectangle((0, 0, THUMB_PX - 1, THUMB_PX - 1), outline="red")
        draw.line((0, 0, THUMB_PX - 1, THUMB_PX - 1), fill="red")
    confidence = f" {outcome.confidence:.2f}" if "low confidence" in outcome.reason else ""
    for line, text in enumerate((outcome.name.rpartition("/")[2], outcome.reason + confidence)):
        shown = " ".join(
            text.encode("ascii", "replace").decode().split()
        )  # Pillow's own font knows little more
        draw.text((0, THUMB_PX + 2 + 16 * line), _shortened(shown, draw), fill="black")
    return tile


def _shortened(text: str, draw: ImageDraw.ImageDraw) -> str:
    """What fits below a thumbnail; the middle is left out, since pictures of a person differ in their end."""
    kept, shown = len(text), text
    while kept and draw.textlength(shown) > THUMB_PX:
        kept -= 1
        shown = f"{text[: kept // 2]}...{text[len(text) - (kept + 1) // 2 :]}"
    return shown
