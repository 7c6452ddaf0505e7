"""Figures of a search: its course, what each setting did to the objective, what was pruned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)

from reports.colors import COLORS
from reports.drawing import GREY, Picture, picture, tidy
from reports.search import Objective, Search, Setting, Trial, best_so_far, shown

_COMPLETE, _BEST = COLORS[0], COLORS[1]
_COLUMNS = 3


def search_pictures(search: Search) -> list[Picture]:
    """All that there is to show; nothing before a trial is complete."""
    if not search.of("complete"):
        return []
    found: list[Picture | None] = [_pareto(search) if len(search.objectives) == 2 else None]
    for place, objective in enumerate(search.objectives):
        tail = f"-{objective.name}" if len(search.objectives) > 1 else ""
        found += [
            _history(search, objective, place, f"history{tail}"),
            _importance(search.importances.get(objective.metric, {}), objective, f"importance{tail}"),
            _slices(search, objective, place, f"slice{tail}"),
            _parallel(search, objective, place, f"parallel_coordinate{tail}"),
        ]
    if len(search.objectives) == 1:
        found.append(_curves(search, search.objectives[0]))
    return [one for one in found if one is not None]


def _history(search: Search, objective: Objective, place: int, name: str) -> Picture:
    complete, pruned = search.of("complete"), [one for one in search.of("pruned") if one.curve]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        tidy(axes, title=f"{objective.metric} by trial")
        steps = best_so_far(search.trials, objective, place)
        steps = [
            *steps,
            (max(one.number for one in search.trials), steps[-1][1]),
        ]  # it holds for those after it
        axes.step(*zip(*steps, strict=True), where="post", color=_BEST, linewidth=1.6, label="best so far")
        axes.plot(
            [one.number for one in complete],
            [one.values[place] for one in complete],
            "o",
            color=_COMPLETE,
            markersize=6,
            label="complete",
        )
        if pruned:
            axes.plot(
                [one.number for one in pruned],
                [one.curve[max(one.curve)] for one in pruned],
                "x",
                color=GREY,
                markersize=6,
                label="pruned: where it stood",
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("trial")
        axes.set_ylabel(objective.metric)
        figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)

    return picture(
        name,
        draw,
        size=(7.2, 4.2),
        alt=f"{objective.metric} of each trial, and the best so far",
        caption="Points: complete trials. Crosses: pruned ones, at their last evaluation.",
    )


def _importance(shares: Mapping[str, float], objective: Objective, name: str) -> Picture | None:
    if not shares:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        tidy(axes, title=f"share of the variance of {objective.metric}")
        axes.grid(False, axis="y")
        paths = list(shares)[::-1]
        axes.barh(paths, [shares[path] for path in paths], color=_COMPLETE, height=0.6)
        for row, path in enumerate(paths):
            axes.annotate(
                f"{shares[path]:.2f}",
                (shares[path], row),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_xlim(0, 1)

    return picture(
        name,
        draw,
        size=(7.2, 1.1 + 0.4 * len(shares)),
        alt=f"importance of each setting for {objective.metric}",
        caption=(
            "fANOVA over complete trials: a regression forest says which setting explains how much. With few "
            "trials it is a hint."
        ),
    )


def _slices(search: Search, objective: Objective, place: int, name: str) -> Picture | None:
    settings, complete = search.varied(), search.of("complete")
    if not settings:
        return None
    columns = min(_COLUMNS, len(settings))
    rows = math.ceil(len(settings) / columns)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for spot, setting in zip(axes.flat, settings, strict=False):
            tidy(spot)
            _axis(spot, setting)
            for trial in search.of("pruned"):
                if setting.path in trial.chosen:
                    spot.plot(
                        [_at(trial, setting)],
                        [0.02],
                        "x",
                        color=GREY,
                        markersize=5,
                        transform=spot.get_xaxis_transform(),
                    )
            for trial in complete:
                is_best = trial.number in search.best
                spot.plot(
                    [_at(trial, setting)],
                    [trial.values[place]],
                    "*" if is_best else "o",
                    color=_BEST if is_best else _COMPLETE,
                    markersize=12 if is_best else 5.5,
                    zorder=5 if is_best else 3,
                )
            spot.set_xlabel(setting.path, fontsize=9)
            spot.margins(y=0.12)
        for spot in axes.flat[len(settings) :]:
            spot.set_visible(False)
        figure.supylabel(objective.metric, fontsize=10)

    return picture(
        name,
        draw,
        size=(1.0 + 2.9 * columns, 0.4 + 2.7 * rows),
        alt=f"{objective.metric} against each setting",
        caption=(
            "One point a complete trial, a star where none beats it. Crosses at the bottom: settings of "
            "pruned trials, which have no final figure."
        ),
    )


def _parallel(search: Search, objective: Objective, place: int, name: str) -> Picture | None:
    settings = search.varied()
    if len(settings) < 2:
        return None
    trials = sorted(
        search.of("complete"), key=lambda one: one.values[place], reverse=not objective.is_maximized
    )
    values = [one.values[place] for one in trials]
    scale = Normalize(min(values), max(values) if max(values) > min(values) else min(values) + 1)
    # from pale to dark as the objective gets better, also for colour-blind readers and in grey
    colors = colormaps["cividis_r" if objective.is_maximized else "cividis"]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        ends = [_ends(trials, setting) for setting in settings]
        for trial in trials:  # the better ones on top
            heights = [
                (_height(trial, setting) - low) / (high - low)
                for setting, (low, high) in zip(settings, ends, strict=True)
            ]
            heights.append(float(scale(trial.values[place])))
            is_best = trial.number in search.best
            axes.plot(heights, color=colors(scale(trial.values[place])), linewidth=3 if is_best else 1.4)
        for column, setting in enumerate(settings):
            axes.axvline(column, color=GREY, linewidth=0.8)
            for height, text in _ticks(trials, setting):
                axes.annotate(
                    text,
                    (column, height),
                    xytext=(4, 0),
                    textcoords="offset points",
                    fontsize=8,
                    va="center",
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
                )
        last = len(settings)
        axes.axvline(last, color=GREY, linewidth=0.8)
        for height, value in ((0.0, scale.vmin), (1.0, scale.vmax)):
            axes.annotate(
                f"{value:.4g}",
                (last, height),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=8,
                va="center",
            )
        names = [setting.path.replace(".", ".\n") for setting in settings]
        axes.set_xticks(range(last + 1), [*names, objective.metric.replace("/", "/\n")], fontsize=9)
        axes.set_xlim(-0.1, last + 0.35)
        axes.set_ylim(-0.06, 1.06)
        axes.yaxis.set_major_locator(NullLocator())
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)

    return picture(
        name,
        draw,
        size=(2.0 + 1.7 * len(settings), 4.2),
        alt=f"the settings of each complete trial and its {objective.metric}, a line a trial",
        caption="One line a complete trial: its settings, and at the right what came out; dark is better.",
    )


def _curves(search: Search, objective: Objective) -> Picture | None:
    trials = [one for one in search.of("complete", "pruned") if one.curve]
    if not trials:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        tidy(axes, title=f"{objective.metric} at each evaluation")
        named: set[str] = set()
        order = sorted(trials, key=lambda one: (one.number in search.best, one.state == "complete"))
        for trial in order:
            kind = "best" if trial.number in search.best else trial.state
            color, width = {"best": (_BEST, 2.4), "complete": (_COMPLETE, 1.1), "pruned": (GREY, 0.9)}[kind]
            steps = sorted(trial.curve)
            values = [trial.curve[step] for step in steps]
            dash = "--" if kind == "pruned" else "-"
            label = "" if kind in named else kind
            named.add(kind)
            axes.plot(
                steps, values, color=color, linewidth=width, linestyle=dash, label=label or "_nolegend_"
            )
            if kind == "pruned":
                axes.plot(steps[-1:], values[-1:], "x", color=GREY, markersize=5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("evaluation")
        axes.set_ylabel(objective.metric)
        figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)

    return picture(
        "intermediate_values",
        draw,
        size=(7.2, 4.2),
        alt=f"{objective.metric} at each evaluation of each trial",
        caption="A line that ends in a cross was pruned there. Each trial is one training with one seed.",
    )


def _pareto(search: Search) -> Picture:
    first, second = search.objectives
    complete = search.of("complete")
    front = sorted((one for one in complete if one.number in search.best), key=lambda one: one.values)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        tidy(axes)
        others = [one for one in complete if one.number not in search.best]
        axes.plot(*_points(others), "o", color=_COMPLETE, markersize=5.5, label="beaten in both figures")
        axes.plot(*_points(front), "*--", color=_BEST, markersize=12, linewidth=1.0, label="beaten by none")
        for one in front:
            axes.annotate(
                f"trial {one.number}",
                (one.values[0], one.values[1]),
                xytext=(7, 5),
                textcoords="offset points",
                fontsize=8,
            )
        axes.set_xlabel(_wanted(first))
        axes.set_ylabel(_wanted(second))
        axes.margins(0.12)
        figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)

    return picture(
        "pareto_front",
        draw,
        size=(7.2, 4.8),
        alt=f"{first.metric} against {second.metric}, and the trials that none beats in both",
        caption="Stars: trials that no other one beats in both figures. Which of them to take is a choice.",
    )


def _points(trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    return [one.values[0] for one in trials], [one.values[1] for one in trials]


def _wanted(objective: Objective) -> str:
    return f"{objective.metric} ({'more' if objective.is_maximized else 'less'} is better)"


def _at(trial: Trial, setting: Setting) -> float:
    """Where on the setting's axis a trial lies."""
    value = trial.chosen[setting.path]
    if setting.choices:
        return float(setting.choices.index(shown(value)))
    assert isinstance(value, int | float)
    return float(value)


def _axis(axes: Axes, setting: Setting) -> None:
    if setting.choices:
        rotation = 30 if max(map(len, setting.choices)) > 10 else 0
        axes.set_xticks(
            range(len(setting.choices)), setting.choices, fontsize=8, rotation=rotation,
            ha="right" if rotation else "center",
        )  # fmt: skip
        axes.set_xlim(-0.5, len(setting.choices) - 0.5)
        return
    axes.tick_params(labelsize=8)
    if setting.is_log:
        axes.set_xscale("log")
        # as many as have a place: decades alone may be none
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=5))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))


def _height(trial: Trial, setting: Setting) -> float:
    place = _at(trial, setting)
    return math.log(place) if setting.is_log else place


def _ends(trials: Sequence[Trial], setting: Setting) -> tuple[float, float]:
    heights = [_height(trial, setting) for trial in trials]
    return min(heights), max(heights)


def _ticks(trials: Sequence[Trial], setting: Setting) -> list[tuple[float, str]]:
    """Height and text: every choice that was taken, or the least and the greatest number."""
    low, high = _ends(trials, setting)
    if setting.choices:
        taken = sorted({_at(trial, setting) for trial in trials})
        return [((place - low) / (high - low), setting.choices[int(place)]) for place in taken]
    by_height = sorted(trials, key=lambda trial: _height(trial, setting))
    return [(0.0, shown(by_height[0].chosen[setting.path])), (1.0, shown(by_height[-1].chosen[setting.path]))]
