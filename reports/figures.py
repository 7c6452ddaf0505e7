"""Figures as PNG files: the ROC, and the distances of genuine and impostor pairs around the threshold.

Colours are Okabe and Ito's, told apart by colour-blind readers; dashes and hatches tell the same things apart
in grey print. The same arrays give the same bytes with the same matplotlib and fonts (which matplotlib
ships): no date, no version, no setting of the user's own enters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bench.verification import far_key, roc
from reports.colors import COLORS, DASHES
from reports.drawing import DPI, GREY, plain_style, tidy

_SIZE_INCH = (6.4, 4.4)
_BINS = (10, 80)
# points of a curve that paper can show; ten million would take minutes to draw
_POINTS = 4000


def save_roc(
    path: Path,
    distances: npt.ArrayLike,
    same: npt.ArrayLike,
    *,
    fars: Sequence[float] = (1e-3,),
    title: str = "",
    name: str = "this model",
) -> None:
    """Draw the exact ROC of one model (see `save_rocs`).

    Args:
        path: the PNG to write.
        distances: one per pair, smaller = more similar.
        same: True for genuine pairs.
        fars: false accept rates to mark.
        title: above the figure.
        name: of the curve.

    Shape:
        distances: (P,); same: (P,) bool.

    Raises:
        ValueError: malformed distances or `same`.
    """
    far, val, _ = roc(distances, same)
    save_rocs(path, {name: (far, val)}, fars=fars, title=title)


def save_rocs(
    path: Path,
    curves: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    fars: Sequence[float] = (1e-3,),
    title: str = "",
) -> None:
    """Draw VAL over FAR, the FAR on a logarithmic axis, where verification is decided.

    Args:
        path: the PNG to write.
        curves: name -> (far, val), both ascending, as `bench.verification.roc` gives them. A curve of nan
            (one kind of pair only) is named in the legend and not drawn.
        fars: false accept rates to mark; the VAL there is written beside the name.
        title: above the figure.

    Raises:
        ValueError: no curve, or one whose arrays differ in length or are empty.
    """
    points = {name: _curve(name, *curve) for name, curve in curves.items()}
    if not points:
        raise ValueError("a ROC figure needs at least one curve")
    # a FAR of 0 has no place on the axis; the least one that can be counted has
    least = min([float(far[far > 0].min()) for far, _ in points.values() if (far > 0).any()] + list(fars))
    left = 10.0 ** np.floor(np.log10(least) - 1e-9)

    def draw(axes: Axes) -> None:
        for index, (name, (far, val)) in enumerate(points.items()):
            if np.isnan(far).any() or np.isnan(val).any():
                axes.plot([], [], " ", label=f"{name}: undefined, there is one kind of pair only")
                continue
            at = ", ".join(f"VAL {_val_at(far, val, mark):.1%} at {far_key(mark)}" for mark in fars)
            first = int(np.searchsorted(far, 0, side="right")) - 1  # the best VAL without a false accept
            shown_far, shown_val = _thin(np.maximum(far[max(first, 0) :], left), val[max(first, 0) :])
            axes.plot(
                shown_far,
                shown_val,
                color=COLORS[index % len(COLORS)],
                linestyle=DASHES[index % len(DASHES)],
                linewidth=1.8,
                label=f"{name}: {at}" if at else name,
            )
        for mark in fars:
            axes.axvline(mark, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.set_xlim(left, 1)
        axes.set_ylim(0, 1.01)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("FAR: impostor pairs accepted")
        axes.set_ylabel("VAL: genuine pairs accepted")
        axes.legend(loc="lower right", frameon=True, framealpha=0.9)

    _write(path, title, draw)


def save_distance_histogram(
    path: Path,
    distances: npt.ArrayLike,
    same: npt.ArrayLike,
    *,
    threshold: float,
    title: str = "",
    distance_name: str = "distance",
) -> None:
    """Draw the histogram of genuine and of impostor distances, and the threshold that divides them.

    Each kind sums to 100 %, however many pairs it has.

    Args:
        path: the PNG to write.
        distances: one per pair, smaller = more similar.
        same: True for genuine pairs.
        threshold: accept means distance < threshold; nan draws no line.
        title: above the figure.
        distance_name: what the horizontal axis measures.

    Shape:
        distances: (P,); same: (P,) bool.

    Raises:
        ValueError: shapes differ, no pairs, or a distance that is not finite.
    """
    values, genuine = np.asarray(distances, dtype=np.float64), np.asarray(same, dtype=np.bool_)
    if values.ndim != 1 or not len(values) or values.shape != genuine.shape:
        raise ValueError(f"distances and same must both be (P,), but got {values.shape} and {genuine.shape}")
    if not np.isfinite(values).all():
        raise ValueError("distances must be finite to be drawn")
    bins = int(np.clip(np.sqrt(len(values)), *_BINS))
    edges = np.linspace(min(0.0, float(values.min())), float(values.max()) or 1.0, bins + 1)
    kinds = (("genuine", genuine, COLORS[0], "-", "////"), ("impostor", ~genuine, COLORS[1], "--", "...."))

    def draw(axes: Axes) -> None:
        for name, members, color, dashes, hatch in kinds:
            count = int(np.count_nonzero(members))
            share = np.histogram(values[members], edges)[0] / max(count, 1)
            axes.stairs(share, edges, fill=True, facecolor=color, alpha=0.25)
            axes.stairs(
                share,
                edges,
                color=color,
                linewidth=1.5,
                linestyle=dashes,
                hatch=hatch,
                fill=False,
                label=f"{name} ({count:,} pairs)",
            )
        if np.isfinite(threshold):
            axes.axvline(threshold, color="black", linewidth=1.4, label=f"threshold {threshold:.3g}")
            accept_at = (threshold, 1.0)
            for text, offset, side in (("accept ", -4, "right"), (" reject", 4, "left")):
                axes.annotate(
                    text,
                    accept_at,
                    xycoords=("data", "axes fraction"),
                    xytext=(offset, -12),
                    textcoords="offset points",
                    ha=side,
                    fontsize=9,
                    color=GREY,
                )
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)
        axes.margins(y=0.15)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel(f"{distance_name} (smaller = more similar)")
        axes.set_ylabel("share of the pairs of its kind")
        axes.legend(loc="best", frameon=True, framealpha=0.9)

    _write(path, title, draw)


def _curve(
    name: str, far: npt.ArrayLike, val: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    x, y = np.asarray(far, dtype=np.float64), np.asarray(val, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ValueError(f"curve {name!r} needs far and val of one length, but got {x.shape} and {y.shape}")
    return x, y


def _val_at(far: npt.NDArray[np.float64], val: npt.NDArray[np.float64], mark: float) -> float:
    """VAL at the last corner whose FAR does not exceed the mark."""
    return float(val[max(int(np.searchsorted(far, mark, side="right")) - 1, 0)])


def _thin(
    far: npt.NDArray[np.float64], val: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Only points that land on different spots of the paper: ends, and a new place along FAR or VAL."""
    if len(far) <= _POINTS:
        return far, val
    place = np.stack([np.log10(far / far[0]) / np.log10(far[-1] / far[0]), val]) * (_POINTS // 2)
    moved = (np.diff(np.floor(place), axis=1) != 0).any(axis=0)
    kept = np.concatenate([[True], moved])
    kept[-1] = True
    return far[kept], val[kept]


def _write(path: Path, title: str, draw: Callable[[Axes], None]) -> None:
    with plain_style():
        figure = Figure(figsize=_SIZE_INCH, dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        tidy(axes)
        if title:
            axes.set_title(title, fontsize=11)
        draw(axes)
        # without metadata of its own choosing matplotlib writes its version into the file
        canvas.print_png(path, metadata={"Software": None})  # type: ignore[no-untyped-call]
