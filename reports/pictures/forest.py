"""Forest plot: every difference between two groups with its interval, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.colors import Style
from reports.contests import Contest, higher_is_better
from reports.drawing import GREY, Picture, picture, tidy


def forest(
    contests: Sequence[Contest],
    styles: Mapping[str, Style],
    protocol: str,
    metrics: Mapping[str, str],
) -> Picture | None:
    """Differences in percentage points, one panel a metric; None without contests.

    Args:
        contests: of one protocol.
        styles: label -> style.
        protocol: its name.
        metrics: metric -> words for its panel.
    """
    panels = {
        metric: found for metric in metrics if (found := [one for one in contests if one.metric == metric])
    }
    if not panels:
        return None
    height = max(len(found) for found in panels.values())

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for place, (metric, found) in zip(axes, panels.items(), strict=True):
            _panel(place, found, metrics[metric], is_error=not higher_is_better(metric))
        names = [f"{one.first} vs {one.second}" for one in next(iter(panels.values()))]
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(len(names) - 0.4, -0.6)

    def _panel(axes: Axes, found: Sequence[Contest], words: str, *, is_error: bool) -> None:
        tidy(axes, title=words)
        axes.axvline(0, color=GREY, linewidth=1.0)
        for row, one in enumerate(found):
            style = styles[one.first]
            seeds = 100 * np.array(list(one.by_seed.values()))
            axes.plot(seeds, np.full(len(seeds), row + 0.18), "|", color=style.color, markersize=7, alpha=0.8)
            if not math.isnan(one.difference.low):
                ends = [100 * one.difference.low, 100 * one.difference.high]
                axes.plot(ends, [row, row], color=style.color, linewidth=2.2, solid_capstyle="butt")
            filled = style.color if one.better is not None else "white"
            axes.plot(
                [100 * one.difference.value],
                [row],
                style.marker,
                color=style.color,
                markerfacecolor=filled,
                markersize=8,
            )
        axes.set_xlabel(f"percentage points ({'negative' if is_error else 'positive'}: the first is better)")

    return picture(
        f"{protocol}_differences",
        draw,
        size=(1.8 + 3.6 * len(panels), 1.2 + 0.45 * height),
        alt="differences between groups with intervals",
        caption=(
            "First minus second: mean over shared seeds and its 95 % t-interval (one shared seed: the pairs' "
            "bootstrap); small strokes: each seed. Filled: separated by both tests after Holm's correction. "
            "Open: the data cannot tell the two apart."
        ),
    )
