"""How every figure of a report is drawn: the style, the two formats, the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

GREY = "#555555"
DPI = 150


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure in two formats.

    Args:
        name: file name without its ending.
        alt: what a person who cannot see it should know.
        caption: how to read it.
        svg: for paper and page.
        png: for everything else.
    """

    name: str
    alt: str
    caption: str
    svg: bytes
    png: bytes


def picture(
    name: str,
    draw: Callable[[Figure], None],
    *,
    size: tuple[float, float],
    alt: str,
    caption: str,
) -> Picture:
    """Draw a figure once a format.

    Args:
        name: file name without its ending.
        draw: fills an empty figure; must draw the same each time.
        size: width and height, inches.
        alt: in place of the picture.
        caption: below it.
    """
    return Picture(name, alt, caption, _bytes(draw, size, "svg"), _bytes(draw, size, "png"))


def tidy(axes: Axes, *, title: str = "") -> None:
    """Light grid behind the data, no box around it."""
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if title:
        axes.set_title(title, fontsize=11, loc="left")


def percent_axis(digits: int | None = None) -> FuncFormatter:
    """Ticks of shares as `98.5 %`; digits as needed when left out."""

    def text(value: float, _: int) -> str:
        shown = f"{100 * value:.{digits}f}" if digits is not None else f"{100 * value:.4g}"
        return f"{shown} %"

    return FuncFormatter(text)


@contextmanager
def plain_style() -> Iterator[None]:
    """Take matplotlib's own defaults, whatever the user's matplotlibrc says; ids of an SVG are not random."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "faceloss-bench"
        yield


def _bytes(draw: Callable[[Figure], None], size: tuple[float, float], form: str) -> bytes:
    with plain_style():
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        canvas = FigureCanvasSVG(figure) if form == "svg" else FigureCanvasAgg(figure)
        draw(figure)
        stream = io.BytesIO()
        # without metadata of its own choosing matplotlib writes its version and the date into the file
        if isinstance(canvas, FigureCanvasSVG):
            canvas.print_svg(stream, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
        else:
            canvas.print_png(stream, metadata={"Software": None})  # type: ignore[no-untyped-call]
        return stream.getvalue()
