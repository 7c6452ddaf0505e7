"""Live progress on a terminal, plain lines elsewhere. Everything goes to standard error."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from bench.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_LINE_EVERY_S = 10.0


class Board(Protocol):
    """Where the runs of one command show how they go."""

    def row(self, title: str) -> Progress:
        """A place for one run."""
        ...

    def done(self, title: str, error: str | None) -> None:
        """The run of that title has ended."""
        ...

    def drop(self, title: str) -> None:
        """The run of that title has ended, and its place is needed no more."""
        ...

    def note(self, text: str) -> None:
        """A line that stays."""
        ...

    def status(self, text: str) -> None:
        """How the whole stands, in place of what was said before."""
        ...


@contextmanager
def open_board() -> Iterator[Board]:
    """A live board when standard error is a terminal, else plain lines. Warnings of `bench` go to it too."""
    if sys.stderr.isatty():
        with _live_board() as live, _logging_to(live):
            yield live
    else:
        plain = _PlainBoard()
        with _logging_to(plain):
            yield plain


class _PlainBoard:
    """One line now and then: for logs, pipes and batch jobs."""

    def row(self, title: str) -> Progress:
        return _PlainRow(title)

    def done(self, title: str, error: str | None) -> None:
        self.note(f"{title}: {'done' if error is None else 'failed: ' + error}")

    def drop(self, title: str) -> None:
        """Lines stay."""

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def status(self, text: str) -> None:
        click.echo(text, err=True)


class _PlainRow:
    def __init__(self, title: str) -> None:
        self._title = title
        self._said_at = 0.0
        self._started_at: float | None = None
        self._first_step = 0

    def stage(self, text: str) -> None:
        self.note(text)

    def note(self, text: str) -> None:
        click.echo(f"{self._title}: {text}", err=True)

    def step(self, step: int, total_steps: int, images_per_s: float, loss: float) -> None:
        now = time.monotonic()
        if self._started_at is None:
            self._started_at, self._first_step = now, step
        if now - self._said_at < _LINE_EVERY_S and step < total_steps:
            return
        self._said_at = now
        left = _time_left(now - self._started_at, step - self._first_step, total_steps - step)
        click.echo(
            f"{self._title}: step {step}/{total_steps}  loss {loss:.4g}  "
            f"{images_per_s:,.0f} images/s  {left}",
            err=True,
        )

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        accuracy = metrics["validation/accuracy"]
        click.echo(f"{self._title}: step {step}: validation accuracy {accuracy:.2%}", err=True)


def _time_left(seconds: float, done: int, left: int) -> str:
    if done <= 0 or left <= 0:
        return ""
    minutes, rest = divmod(round(seconds / done * left), 60)
    return f"{minutes}:{rest:02d} left"


@contextmanager
def _live_board() -> Iterator[Board]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[news]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )

    tasks: dict[str, TaskID] = {}

    class LiveRow:
        def __init__(self, title: str) -> None:
            self._title = title
            self._task = tasks[title] = bars.add_task(title, total=None, news="")
            self._validation = ""

        def stage(self, text: str) -> None:
            bars.update(self._task, news=text)

        def note(self, text: str) -> None:
            bars.console.print(f"{self._title}: {text}", markup=False, highlight=False)

        def step(self, step: int, total_steps: int, images_per_s: float, loss: float) -> None:
            news = f"{images_per_s:,.0f} images/s  loss {loss:.4g}{self._validation}"
            bars.update(self._task, completed=step, total=total_steps, news=news)

        def validation(self, step: int, metrics: Mapping[str, float]) -> None:
            self._validation = f"  validation {metrics['validation/accuracy']:.2%}"

    class LiveBoard:
        def row(self, title: str) -> Progress:
            return LiveRow(title)

        def done(self, title: str, error: str | None) -> None:
            if error is not None:
                self.note(f"{title}: failed: {error}")

        def drop(self, title: str) -> None:
            bars.remove_task(tasks.pop(title))

        def note(self, text: str) -> None:
            bars.console.print(text, markup=False, highlight=False)

        def status(self, text: str) -> None:
            head.update(text)

    head = _Head()
    with Live(Group(head, bars), console=bars.console, refresh_per_second=8):
        yield LiveBoard()


class _Head:
    """The line above the rows; nothing until something is said."""

    def __init__(self) -> None:
        self._text = ""

    def update(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._text:
            from rich.text import Text

            yield Text(self._text, style="bold")


@contextmanager
def _logging_to(board: Board) -> Iterator[None]:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            board.note(self.format(record))

    handler = Handler()
    logger = logging.getLogger("bench")
    previous = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = previous
