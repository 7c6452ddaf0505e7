"""How training went: validation figures over images and time, and what a pair loss saw in its batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports.colors import Style
from reports.drawing import GREY, Picture, percent_axis, picture, tidy
from reports.groups import Group
from reports.pictures.bands import Floats
from reports.records import Run

_PANELS = {
    "train/active_share": "share of candidates that pull or push",
    "train/effective_rank": "effective rank: dimensions in use",
    "train/embedding_std": "spread of the embeddings",
    "train/loss_to_collapse": "loss / loss of collapsed embeddings",
}
_MOST_WITH_SEEDS = 5  # groups whose single seeds can be told apart in one panel


def training(groups: Sequence[Group], styles: Mapping[str, Style]) -> Picture | None:
    """Validation accuracy and VAL over images and over minutes; None without curves."""
    shown = [group for group in groups if any(_has(run, "validation/accuracy") for run in group.runs)]
    if not shown:
        return None
    val = next(
        (
            name
            for run in shown[0].runs
            for line in run.curve
            for name in line.metrics
            if name.startswith("validation/val_at_far_")
        ),
        None,
    )
    rows = [("validation/accuracy", "accuracy")]
    if val is not None:
        rows.append((val, f"VAL at FAR {val.rpartition('_')[2]}"))

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(rows), 2, squeeze=False, sharex="col", sharey="row")
        for row, (metric, words) in enumerate(rows):
            for column, by_time in enumerate((False, True)):
                place = axes[row, column]
                tidy(place)
                for group in shown:
                    _seeds(place, group, metric, styles[group.label], by_time=by_time)
                place.yaxis.set_major_formatter(percent_axis())
            axes[row, 0].set_ylabel(f"validation {words}")
        for column, by_time in enumerate((False, True)):
            _name_axis(axes[-1, column], by_time=by_time)
        axes[0, 0].legend(loc="lower right", fontsize=8, framealpha=0.9)

    return picture(
        "training",
        draw,
        size=(9.0, 0.8 + 2.8 * len(rows)),
        alt="validation figures of each group over images and time",
        caption=(
            "Thin: each seed. Thick: their mean, where all have a value. Validation people are in neither "
            "training nor test. Minutes depend on what else the machine did; images do not."
        ),
    )


def monitors(groups: Sequence[Group], styles: Mapping[str, Style]) -> Picture | None:
    """What pair losses report of themselves: active pairs, collapse, distances; None when none did."""
    panels = [
        (name, words)
        for name, words in _PANELS.items()
        if any(_has(run, name) for group in groups for run in group.runs)
    ]
    with_distances = [group for group in groups if any(_has(run, "train/d_ap_p50") for run in group.runs)][:4]
    if not panels and not with_distances:
        return None
    places = len(panels) + len(with_distances)
    columns = 2
    rows = -(-places // columns)
    is_crowded = len(groups) > _MOST_WITH_SEEDS

    def draw(figure: Figure) -> None:
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for place, (name, words) in zip(axes, panels, strict=False):
            tidy(place, title=words)
            for group in groups:
                _seeds(place, group, name, styles[group.label], by_time=False, each=not is_crowded)
            if name in ("train/effective_rank", "train/embedding_std"):
                place.set_ylim(0, 1.15 * place.dataLim.y1)  # from 0: a change in the third digit is none
            if name in ("train/active_share", "train/loss_to_collapse"):
                # a share ends at 1; a hard-mining loss begins at several times that of collapsed embeddings
                highest = 1.0 if name == "train/active_share" else max(1.0, place.dataLim.y1)
                place.set_ylim(0, 1.05 * highest)
                place.yaxis.set_major_formatter(percent_axis())
            if name == "train/loss_to_collapse":
                place.axhline(1.0, color=GREY, linewidth=0.9, linestyle=":")
            if not is_crowded:
                place.legend(fontsize=8)
        if is_crowded and panels:  # under them all: in a panel it would lie on the curves
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, handlelength=4)
        for place, group in zip(axes[len(panels) :], with_distances, strict=False):
            tidy(place, title=f"distances in the batch: {group.label}")
            _distances(place, group, styles[group.label])
        for place in axes[places:]:
            place.set_visible(False)
        for number, place in enumerate(axes[:places]):
            _name_axis(place, by_time=False, is_last=number >= places - columns)

    return picture(
        "monitors",
        draw,
        size=(9.0, (0.9 if is_crowded else 0.4) + 2.7 * rows),
        alt="active share, collapse monitors and distance percentiles over training",
        caption=(
            "Training stalls when few candidates are active (nothing left to learn from) or when the loss "
            "stays at 100 % of a collapsed network's and the effective rank falls. Distances: lines are "
            "medians, bands 5th to 95th percentile of the first seed."
            + (" So many groups are shown by the means of their seeds." if is_crowded else "")
        ),
    )


def _seeds(axes: Axes, group: Group, metric: str, style: Style, *, by_time: bool, each: bool = True) -> None:
    """The mean of the seeds, and each of them."""
    curves = [_points(run, metric, by_time=by_time) for run in group.runs]
    curves = [curve for curve in curves if len(curve[0])]
    for x, y in curves if each else ():
        axes.plot(x, y, color=style.color, linewidth=0.7, alpha=0.5)
    if not curves:
        return
    length = min(len(x) for x, _ in curves)
    x = np.mean([x[:length] for x, _ in curves], axis=0)
    y = np.mean([y[:length] for _, y in curves], axis=0)
    axes.plot(x, y, color=style.color, linestyle=style.dash, linewidth=2.0, label=group.label)


def _distances(axes: Axes, group: Group, style: Style) -> None:
    run = next(run for run in group.runs if _has(run, "train/d_ap_p50"))
    for kind, words, color, dash in (
        ("d_ap", "same person", style.color, "-"),
        ("d_an", "two people", "black", "--"),
    ):
        x, median = _points(run, f"train/{kind}_p50", by_time=False)
        low, high = (_points(run, f"train/{kind}_{end}", by_time=False)[1] for end in ("p5", "p95"))
        axes.plot(x, median, color=color, linestyle=dash, linewidth=1.8, label=words)
        if len(low) == len(x) == len(high):
            axes.fill_between(x, low, high, color=color, alpha=0.12, linewidth=0)
    axes.set_ylim(0, 1.3 * axes.dataLim.y1)  # room for the legend
    axes.legend(loc="upper right", fontsize=8, ncols=2)


def _points(run: Run, metric: str, *, by_time: bool) -> tuple[Floats, Floats]:
    lines = [line for line in run.curve if metric in line.metrics]
    values = np.array([float(line.metrics[metric]) for line in lines])
    if by_time:
        start_ms = datetime.fromisoformat(run.record.started_at).timestamp() * 1000
        return np.array([(line.time_ms - start_ms) / 1000 for line in lines]), values
    budget = run.record.budget
    images_a_step = budget.images / max(budget.steps, 1)
    return np.array([line.step * images_a_step for line in lines]), values


def _name_axis(axes: Axes, *, by_time: bool, is_last: bool = True) -> None:
    """Show the axis of seconds or images in a unit that its numbers fit; the last of a column names it."""
    end = axes.get_xlim()[1]
    units = [(3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds")]
    if not by_time:
        units = [(1e6, "million images"), (1e3, "thousand images"), (1.0, "images")]
    unit, words = next((one for one in units if end >= 2 * one[0]), units[-1])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit:g}"))
    axes.xaxis.set_major_locator(_Steps(unit))
    if is_last:
        axes.set_xlabel(f"{words} since the run began" if by_time else f"{words}, forward and backward")


class _Steps(MaxNLocator):
    """Round numbers of a unit."""

    def __init__(self, unit: float) -> None:
        super().__init__(6, steps=[1, 2, 2.5, 5, 10])
        self._unit = unit

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Places on the axis."""
        return self._unit * np.asarray(super().tick_values(vmin / self._unit, vmax / self._unit))


def _has(run: Run, metric: str) -> bool:
    return any(metric in line.metrics for line in run.curve)
