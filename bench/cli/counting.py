"""Numbers for people: how far a long job has come, and how many of something there are."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from bench.progress import Counting

_LINE_EVERY_S = 10.0


def counted(number: int, word: str) -> str:
    """`1 run`, `3 runs`, `1,200 runs`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


@contextmanager
def open_counting(title: str, unit: str) -> Iterator[Counting]:
    """Show `title: done/total unit, unit/s, time left`, until the block ends."""
    if not sys.stderr.isatty():
        yield _Lines(title, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bars = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[news]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bars:
        task = bars.add_task(title, total=None, news="")

        class Bar:
            def count(self, done: int, total: int, per_s: float, news: str) -> None:
                text = f"{per_s:,.0f} {unit}/s  {news}" if per_s else news
                bars.update(task, completed=done, total=total, news=text)

        yield Bar()


class _Lines:
    def __init__(self, title: str, unit: str) -> None:
        self._title = title
        self._unit = unit
        self._said_at = time.monotonic()

    def count(self, done: int, total: int, per_s: float, news: str) -> None:
        now = time.monotonic()
        if now - self._said_at < _LINE_EVERY_S:
            return
        self._said_at = now
        parts = [f"{self._title}: {done:,}/{total:,} {self._unit}", news]
        if per_s:
            minutes, seconds = divmod(round((total - done) / per_s), 60)
            parts = [parts[0], f"{per_s:,.0f} {self._unit}/s", news, f"{minutes}:{seconds:02d} left"]
        click.echo(", ".join(part for part in parts if part), err=True)
