"""The tables of `bench eval`: every figure with its interval, and what to know before reading it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.judge.folder import Judged
from bench.judge.judgement import Judgement
from bench.verification import Interval


def print_evaluation(name: str, judged: Sequence[Judged], *, to_stderr: bool) -> None:
    """Print a table for each protocol, then warnings and reasons.

    Args:
        name: of what was judged.
        judged: its protocols.
        to_stderr: leave standard output to the JSON.
    """
    console = Console(stderr=to_stderr)
    if not console.is_terminal:
        console.width = 120
    for one in judged:
        judgement = one.judgement
        console.print(_table(name, judgement))
        pairs = judgement.pairs.name
        notes = [f"{pairs}: {metric}: {reason}" for metric, reason in judgement.figures.reasons.items()]
        notes += [f"{pairs}: {warning}" for warning in judgement.figures.warnings.values()]
        for note in notes:
            console.print(note, markup=False, highlight=False)


def _table(name: str, judgement: Judgement) -> Table:
    figures, pairs = judgement.figures, judgement.pairs
    metric = judgement.metric or "distances as given"
    table = Table(
        title=f"{name} on {pairs.name}: {len(figures.fold_accuracy)} folds, {len(pairs):,} pairs, {metric}",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in _rows(judgement):
        table.add_row(*row)
    methods = {interval.method for interval in judgement.intervals.values()}
    table.caption = f"intervals: {' and '.join(sorted(methods))}"
    table.caption_justify = "left"
    return table


def _rows(judgement: Judgement) -> Iterator[tuple[str, str, str, str]]:
    metrics, intervals = judgement.figures.metrics, judgement.intervals

    def row(
        title: str, key: str, value: float, *, percent: bool, note: str = ""
    ) -> tuple[str, str, str, str]:
        return title, _number(value, percent=percent), _interval(intervals.get(key), percent=percent), note

    spread = (
        f"± {100 * metrics['accuracy_std']:.2f} std of folds, ± {100 * metrics['accuracy_se']:.2f} std error"
    )
    yield row("accuracy", "accuracy", metrics["accuracy"], percent=True, note=spread)
    yield row("threshold", "best_threshold", metrics["best_threshold"], percent=False, note="mean over folds")
    for far, facenet in judgement.figures.val_facenet.items():
        exact = judgement.figures.val_exact[far]
        yield row(
            f"VAL at FAR {far}",
            f"val_at_far_{far}",
            facenet["val"],
            percent=True,
            note=f"facenet's rule, FAR {_number(facenet['far'], percent=True)} in the test folds",
        )
        yield row(
            f"exact VAL at {far}",
            f"val_exact_at_far_{far}",
            exact["val"],
            percent=True,
            note=f"all pairs, threshold {_number(exact['threshold'], percent=False)}",
        )
    yield row("AUC", "auc", metrics["auc"], percent=False)
    yield row("EER", "eer", metrics["eer"], percent=True)
    yield row("d'", "d_prime", judgement.d_prime, percent=False)


def _number(value: float, *, percent: bool) -> str:
    if math.isnan(value):
        return "undefined"
    return f"{100 * value:.2f} %" if percent else f"{value:.4f}"


def _interval(interval: Interval | None, *, percent: bool) -> str:
    if interval is None or math.isnan(interval.low):
        return "-"
    if percent:
        return f"{100 * interval.low:.2f} to {100 * interval.high:.2f} %"
    return f"{interval.low:.4f} to {interval.high:.4f}"
