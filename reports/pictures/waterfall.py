"""Waterfall: what each change to a base does alone, and what all do together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from reports.colors import COLORS
from reports.contests import Contest
from reports.drawing import GREY, Picture, percent_axis, picture, tidy
from reports.groups import Group


def waterfall(
    base: Group, contests: Sequence[Contest], protocol: str, metric: str, words: str
) -> Picture | None:
    """Bars from the base's figure to each variant's, with the interval of the difference.

    Args:
        base: what the variants change.
        contests: of one metric, each variant (first) against the base (second), in the order to draw them.
        protocol: its name.
        metric: of the contests.
        words: the metric in words.
    """
    if not contests:
        return None
    level = base.estimate(protocol, metric).value

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        tidy(axes, title=f"{words}, one change at a time: {protocol}")
        axes.grid(False, axis="y")
        axes.axvline(level, color=GREY, linewidth=1.0, linestyle="--")
        axes.plot([level], [0], "o", color="black", markersize=7)
        for row, one in enumerate(contests, start=1):
            change = one.difference.value
            color = COLORS[0] if change >= 0 else COLORS[1]
            axes.barh(
                row,
                change,
                left=level,
                height=0.55,
                color=color,
                alpha=0.75 if one.better else 0.25,
                edgecolor=color,
            )
            if not math.isnan(one.difference.low):
                ends = np.clip([level + one.difference.low, level + one.difference.high], 0, 1)
                axes.plot(ends, [row, row], color="black", linewidth=1.4)
            axes.annotate(
                f"{100 * change:+.2f}",
                (1.0, row),
                xycoords=("axes fraction", "data"),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        names = [f"{base.label} (base)", *(one.first for one in contests)]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(percent_axis())
        axes.set_xlabel(f"{words}; bars begin at the base")

    return picture(
        f"{protocol}_waterfall_{metric}",
        draw,
        size=(7.6, 1.3 + 0.42 * (len(contests) + 1)),
        alt=f"change of {words} by each variant",
        caption=(
            "Each bar is one variant against the base; strong: separated by both tests after Holm's "
            "correction, pale: not. Black lines: 95 % t-interval of the difference over seeds. Right: "
            "percentage points. Changes made alone need not add up to what they do together."
        ),
    )
