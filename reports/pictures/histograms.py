"""Distances of genuine and impostor pairs, one panel a group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.colors import Style
from reports.drawing import GREY, Picture, percent_axis, picture, tidy
from reports.groups import Group

_BINS = 60
_COLUMNS = 3


def histograms(groups: Sequence[Group], styles: Mapping[str, Style], protocol: str) -> Picture:
    """Genuine pairs filled, impostors in outline, and the threshold between them; all seeds together."""
    distances = {
        group.label: [pairs for run in group.runs if (pairs := run.pairs(protocol)) is not None]
        for group in groups
    }
    top = max(float(pairs.distances.max()) for found in distances.values() for pairs in found)
    edges = np.linspace(0, top or 1.0, _BINS + 1)
    columns = min(_COLUMNS, len(groups))
    rows = math.ceil(len(groups) / columns)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for place, group in zip(axes.flat, groups, strict=False):
            _panel(place, group)
        for place in axes.flat[len(groups) :]:
            place.set_visible(False)
        axes[0, 0].legend(loc="upper right", fontsize=8)
        figure.supxlabel("distance (smaller = more similar)", fontsize=10)
        figure.supylabel("share of the pairs of its kind", fontsize=10)

    def _panel(axes: Axes, group: Group) -> None:
        style, found = styles[group.label], distances[group.label]
        tidy(axes, title=group.label)
        values = np.concatenate([pairs.distances for pairs in found])
        same = np.concatenate([pairs.same for pairs in found])
        for name, members, is_filled in (("genuine", same, True), ("impostor", ~same, False)):
            share = np.histogram(values[members], edges)[0] / max(int(np.count_nonzero(members)), 1)
            if is_filled:
                axes.stairs(share, edges, fill=True, color=style.color, alpha=0.45, label=name)
            else:
                axes.stairs(share, edges, color="black", linewidth=1.3, label=name)
        threshold = float(np.mean(group.values(protocol, "best_threshold")))
        axes.axvline(threshold, color=GREY, linewidth=1.2, linestyle="--", label="threshold")
        axes.annotate(
            f"{threshold:.2f}",
            (threshold, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            va="top",
            fontsize=8,
            color=GREY,
        )
        axes.yaxis.set_major_formatter(percent_axis())

    return picture(
        f"{protocol}_distances",
        draw,
        size=(1.2 + 2.9 * columns, 0.6 + 2.7 * rows),
        alt=f"histograms of genuine and impostor distances of {', '.join(distances)}",
        caption=(
            "What lies right of the dashed threshold in the filled histogram is falsely rejected, what lies "
            "left of it in the outlined one falsely accepted. All seeds together; each kind sums to 100 %."
        ),
    )
