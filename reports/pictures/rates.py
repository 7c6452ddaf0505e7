"""ROC, DET and accuracy over the threshold: what a threshold costs, group by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.verification import ACCURACY_GRID
from bench.verification import roc as exact_roc
from reports.colors import Style
from reports.drawing import GREY, Picture, percent_axis, picture, tidy
from reports.groups import Group
from reports.pictures.bands import Band, Floats, band, wilson_band
from reports.records import PairDistances

_POINTS = 160
_SIZE = (7.2, 4.8)
_SEEDS = (
    "Lines are means over seeds, bands 95 % t-intervals (of the log odds) from three seeds on (of one seed "
    "alone: Wilson's, of the pairs)."
)


def roc(
    groups: Sequence[Group], styles: Mapping[str, Style], protocol: str, fars: Sequence[float]
) -> Picture:
    """VAL over FAR, the FAR on a logarithmic axis, where verification is decided."""
    bands, left = _val_bands(groups, protocol)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        tidy(axes, title=f"ROC: {protocol}")
        grid = np.geomspace(left, 1, _POINTS)
        for label, found in bands.items():
            _line(axes, grid, found, styles[label], label)
        for far in fars:
            axes.axvline(far, color=GREY, linewidth=0.8, linestyle=":")
        lowest = min(float(np.nanmin([found.center, found.low])) for found in bands.values())
        axes.set_xscale("log")
        axes.set_xlim(left, 1)
        axes.set_ylim(max(0.0, np.floor(20 * lowest) / 20), 1.005)
        axes.xaxis.set_major_formatter(percent_axis())
        axes.yaxis.set_major_formatter(percent_axis())
        axes.set_xlabel("FAR: share of impostor pairs accepted")
        axes.set_ylabel("VAL: share of genuine pairs accepted")
        axes.legend(loc="lower right", framealpha=0.9)

    return picture(
        f"{protocol}_roc",
        draw,
        size=_SIZE,
        alt=f"ROC curves of {', '.join(bands)} on {protocol}",
        caption=f"Higher is better. {_SEEDS} Left of 30 false accepts the curve rests on few impostors.",
    )


def det(
    groups: Sequence[Group], styles: Mapping[str, Style], protocol: str, fars: Sequence[float]
) -> Picture:
    """Both errors against each other on logarithmic axes, where small ones are seen as well as large ones."""
    bands, left = _val_bands(groups, protocol)
    floor = 0.5 / max(group.figures(protocol)[0].num_genuine for group in groups)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        tidy(axes, title=f"DET: {protocol}")
        grid = np.geomspace(left, 1, _POINTS)
        for label, found in bands.items():
            errors = Band(
                *(np.maximum(1 - values, floor) for values in (found.center, found.high, found.low))
            )
            _line(axes, grid, errors, styles[label], label)
        axes.plot([floor, 1], [floor, 1], color=GREY, linewidth=0.8, linestyle=":")
        axes.annotate(
            "equal errors", (0.3, 0.3), color=GREY, fontsize=8, xytext=(4, -10), textcoords="offset points"
        )
        for far in fars:
            axes.axvline(far, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(left, 1)
        axes.set_ylim(floor, 1)
        axes.xaxis.set_major_formatter(percent_axis())
        axes.yaxis.set_major_formatter(percent_axis())
        axes.set_xlabel("FAR: share of impostor pairs accepted")
        axes.set_ylabel("FRR: share of genuine pairs rejected")
        axes.legend(loc="lower left", framealpha=0.9)

    return picture(
        f"{protocol}_det",
        draw,
        size=_SIZE,
        alt=f"DET curves of {', '.join(bands)} on {protocol}",
        caption=f"Lower is better. {_SEEDS}",
    )


def accuracy_by_threshold(groups: Sequence[Group], styles: Mapping[str, Style], protocol: str) -> Picture:
    """Accuracy of all pairs at each threshold, and the threshold that the folds chose."""

    def accuracy(pairs: PairDistances) -> Floats:
        right = [(pairs.distances < threshold) == pairs.same for threshold in ACCURACY_GRID]
        return np.array([np.count_nonzero(row) for row in right]) / len(pairs.same)

    bands = {group.label: _band(group, protocol, accuracy, sum) for group in groups}

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        tidy(axes, title=f"Accuracy over the threshold: {protocol}")
        for group in groups:
            style, found = styles[group.label], bands[group.label]
            chosen = float(np.mean(group.values(protocol, "best_threshold")))
            _line(axes, ACCURACY_GRID, found, style, f"{group.label}: threshold {chosen:.2f}")
            at = float(np.interp(chosen, ACCURACY_GRID, found.center))
            axes.plot([chosen], [at], color=style.color, marker=style.marker, markersize=8, zorder=5)
            axes.plot([chosen, chosen], [0, at], color=style.color, linewidth=0.8, linestyle=":")
        reached = np.max([found.center for found in bands.values()], axis=0)
        shown = ACCURACY_GRID[reached > 0.55]
        axes.set_xlim(float(shown.min()), float(shown.max()))
        axes.set_ylim(0.5, 1.0)
        axes.yaxis.set_major_formatter(percent_axis())
        axes.set_xlabel("threshold: accept when the distance is below it")
        axes.set_ylabel("accuracy over all pairs")
        axes.legend(loc="lower center", framealpha=0.9)

    return picture(
        f"{protocol}_accuracy_threshold",
        draw,
        size=_SIZE,
        alt=f"accuracy of {', '.join(bands)} at every threshold",
        caption=(
            "Markers: the mean threshold that the folds chose. A broad top means that a threshold chosen on "
            f"other people still serves; a narrow one that it must be chosen anew. {_SEEDS}"
        ),
    )


def _val_bands(groups: Sequence[Group], protocol: str) -> tuple[dict[str, Band], float]:
    """Label -> VAL at FARs from one impostor to all; and the first of these."""
    impostors = max(group.figures(protocol)[0].num_impostor for group in groups)
    left = 1 / impostors

    def val(pairs: PairDistances) -> Floats:
        far, accepted, _ = exact_roc(pairs.distances, pairs.same)
        # rounding must not push a FAR that is reached exactly to the other side
        places = np.searchsorted(far, np.geomspace(left, 1, _POINTS) * (1 + 1e-9), side="right") - 1
        return accepted[np.maximum(places, 0)]

    return {group.label: _band(group, protocol, val, lambda counts: counts[0]) for group in groups}, left


def _band(
    group: Group,
    protocol: str,
    curve: Callable[[PairDistances], Floats],
    trials: Callable[[tuple[int, int]], int],
) -> Band:
    found = [pairs for run in group.runs if (pairs := run.pairs(protocol)) is not None]
    curves = np.array([curve(pairs) for pairs in found])
    figures = group.figures(protocol)[0]
    count = trials((figures.num_genuine, figures.num_impostor))
    return band(curves, count) if len(curves) > 1 else wilson_band(curves[0], count)


def _line(axes: Axes, x: Floats, found: Band, style: Style, label: str) -> None:
    axes.fill_between(x, found.low, found.high, color=style.color, alpha=0.13, linewidth=0)
    axes.plot(x, found.center, color=style.color, linestyle=style.dash, linewidth=1.8, label=label)
