"""How many pictures people have: the long tail, as text and as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.errors import UserError

_EDGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_BAR = 40


def bins(images_of: Mapping[str, int]) -> list[tuple[str, int]]:
    """People by their number of pictures: ("5-9", 12), ...; from the first to the last that is not empty."""
    counts = np.array(list(images_of.values()), np.int64)
    upper = (*_EDGES[1:], None)
    rows = []
    for low, high in zip(_EDGES, upper, strict=True):
        inside = int(np.sum((counts >= low) & (counts < high))) if high else int(np.sum(counts >= low))
        text = f"{low}+" if high is None else str(low) if high == low + 1 else f"{low}-{high - 1}"
        rows.append((text, inside))
    filled = [number for number, (_, inside) in enumerate(rows) if inside]
    return rows[filled[0] : filled[-1] + 1] if filled else []


def text_histogram(images_of: Mapping[str, int]) -> list[str]:
    """One line a bin."""
    rows = bins(images_of)
    most = max((count for _, count in rows), default=1)
    return [f"  {text:>8} {count:>8,} {'#' * -(-count * _BAR // most)}" for text, count in rows]


def save_histogram(path: Path, sets: Mapping[str, Mapping[str, int]]) -> None:
    """All sets side by side in one figure.

    Raises:
        UserError: an unknown suffix, or a place that cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(sets), 3.2), layout="constrained")
    for axes, (name, images_of) in zip(
        np.atleast_1d(figure.subplots(1, len(sets))), sets.items(), strict=True
    ):
        rows = bins(images_of)
        axes.bar([text for text, _ in rows], [count for _, count in rows], color="#4c72b0")
        axes.set(title=f"{name}: {len(images_of):,} people", xlabel="pictures of a person", ylabel="people")
        axes.tick_params(axis="x", rotation=45)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except ValueError:
        raise UserError(
            f"{path}: {path.suffix or 'no suffix'} is no image format; use .png or .svg"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
