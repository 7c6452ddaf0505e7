"""The table at the end of `bench run`: the figures, and where to look next."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from bench.config import RunConfig, redact_uri
from bench.engine import run_path
from bench.results import RunFolder, RunRecord

_FAR = "1e-3"


def print_profile(record: RunRecord, config: RunConfig) -> None:
    """Where the time of a run went: seconds and share of each part, and where its trace lies."""
    timing = record.timing
    parts = {**timing.parts_s, "other": max(0.0, timing.wall_s - sum(timing.parts_s.values()))}
    click.echo(f"\n{'part':<14}{'seconds':>10}{'share':>7}")
    for part, seconds in parts.items():
        click.echo(f"{part:<14}{seconds:>10.2f}{seconds / timing.wall_s:>7.1%}")
    trace = RunFolder(run_path(config)).trace
    click.echo(f"trace: {trace}" if trace.exists() else "no trace: the run was finished, or too short")


def print_summary(records: Sequence[RunRecord], configs: Sequence[RunConfig]) -> None:
    """Print one table a protocol to standard output, and the ways to more."""
    console = Console(width=None if Console().is_terminal else 120)
    left_out: list[str] = []
    unbounded = console.options.update(max_width=1000)
    for protocol in sorted({name for record in records for name in record.protocols}):
        shown = [record for record in records if protocol in record.protocols]
        table = _single(protocol, shown) if _all_single(shown) else _seeds(protocol, shown)
        # the last columns matter least; a figure that is cut in half is worse than none
        while len(table.columns) > 2 and Measurement.get(console, unbounded, table).maximum > console.width:
            left_out.append(str(table.columns.pop().header).replace("\n", " "))
        console.print(table)
    if left_out:
        names = ", ".join(dict.fromkeys(reversed(left_out)))
        console.print(f"left out for want of width: {names} (all in record.json)", markup=False)
    for note in _notes(records):
        console.print(note, markup=False, highlight=False)
    for line in _where_next(configs):
        console.print(line, markup=False, highlight=False)


def _all_single(records: Sequence[RunRecord]) -> bool:
    return len({_group(record) for record in records}) == len(records)


def _group(record: RunRecord) -> tuple[str, str]:
    return record.name, record.config_hash  # equal settings under two names are two rows


def _single(protocol: str, records: Sequence[RunRecord]) -> Table:
    table = _table(
        _title(protocol, records[0]),
        "run",
        "accuracy",
        "± std\nof folds",
        "± std\nerror",
        "threshold",
        f"VAL at\nFAR {_FAR}",
        "exact\nVAL",
        "EER",
        "images/s",
        "minutes",
    )
    for record in records:
        metrics = record.protocols[protocol].metrics
        table.add_row(
            f"{record.name} s{record.seed}",
            _percent(metrics["accuracy"]),
            _percent(metrics["accuracy_std"]),
            _percent(metrics["accuracy_se"]),
            f"{metrics['best_threshold']:.3f}",
            _val(metrics, "val_at_far"),
            _val(metrics, "val_exact_at_far"),
            _percent(metrics["eer"]),
            f"{record.timing.images_per_s:,.0f}",
            f"{record.timing.wall_s / 60:.1f}",
        )
    return table


def _seeds(protocol: str, records: Sequence[RunRecord]) -> Table:
    table = _table(
        f"{_title(protocol, records[0])}: mean ± standard deviation over seeds",
        "configuration",
        "seeds",
        "accuracy",
        "threshold",
        f"VAL at\nFAR {_FAR}",
        "exact\nVAL",
        "AUC",
        "EER",
        "images/s",
    )
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(_group(record), []).append(record)
    for group in groups.values():
        metrics = [record.protocols[protocol].metrics for record in group]
        table.add_row(
            group[0].name,
            str(len(group)),
            _spread([row["accuracy"] for row in metrics], percent=True),
            _spread([row["best_threshold"] for row in metrics], percent=False),
            _spread([row.get(f"val_at_far_{_FAR}", math.nan) for row in metrics], percent=True),
            _spread([row.get(f"val_exact_at_far_{_FAR}", math.nan) for row in metrics], percent=True),
            _spread([row["auc"] for row in metrics], percent=False),
            _spread([row["eer"] for row in metrics], percent=True),
            f"{statistics.mean(record.timing.images_per_s for record in group):,.0f}",
        )
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _title(protocol: str, record: RunRecord) -> str:
    figures = record.protocols[protocol]
    pairs = figures.num_genuine + figures.num_impostor
    skipped = f" ({figures.num_skipped:,} skipped: images are missing)" if figures.num_skipped else ""
    return f"{protocol}: {len(figures.fold_accuracy)} folds, {pairs:,} pairs{skipped}, {figures.metric}"


def _percent(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{100 * value:.2f} %"


def _val(metrics: dict[str, float], kind: str) -> str:
    value = metrics.get(f"{kind}_{_FAR}")
    return "-" if value is None else _percent(value)


def _spread(values: Sequence[float], *, percent: bool) -> str:
    scale, digits, unit = (100, 2, " %") if percent else (1, 3, "")
    mean = f"{scale * statistics.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean + unit
    return f"{mean} ± {scale * statistics.stdev(values):.{digits}f}{unit}"


def _notes(records: Sequence[RunRecord]) -> list[str]:
    notes = []
    for record in records:
        if record.init is not None:
            notes.append(
                f"{record.name} s{record.seed}: started from the weights of {record.init.name} after step "
                f"{record.init.step} ({record.init.source}): {record.init.images:,} images more than its own"
            )
        if record.best is not None and record.config["evaluate"]["weights"] == "best":
            notes.append(
                f"{record.name} s{record.seed}: tested at step {record.best.step}, the best by "
                f"{record.best.metric} ({record.best.value:.4g})"
            )
        if not record.protocols:
            accuracy = (record.validation or {}).get("validation/accuracy", math.nan)
            notes.append(
                f"{record.name} s{record.seed}: no test pairs (data.protocol); validation accuracy "
                f"{_percent(accuracy)}"
            )
        for protocol, figures in record.protocols.items():
            for metric, reason in figures.reasons.items():
                notes.append(f"{record.name} s{record.seed}: {protocol}/{metric}: {reason}")
            notes += [f"{protocol}: {warning}" for warning in figures.warnings.values()]
    if any(record.data_name == "rendered" for record in records):
        notes.append("Rendered faces: figures compare losses with each other; they are not LFW figures.")
    return list(dict.fromkeys(notes))


def _where_next(configs: Sequence[RunConfig]) -> list[str]:
    folders = list(dict.fromkeys(str(run_path(config)) for config in configs))
    # without a test there are no pairs, and no figures of them
    what = "records, pairs and figures" if any(map(_has_pairs, configs)) else "records and curves"
    lines = [f"{what}: {folders[0] if len(folders) == 1 else Path(folders[0]).parent}/"]
    if any(config.tracking.enabled for config in configs):
        server = next((config.tracking.uri for config in configs if config.tracking.uri), None)
        server = server or os.environ.get("MLFLOW_TRACKING_URI", "")
        place = redact_uri(server) if server.startswith("http") else "mlflow ui, then http://127.0.0.1:5000"
        lines.append(f"curves and comparison in the browser: {place}")
    return lines


def _has_pairs(config: RunConfig) -> bool:
    return RunFolder(run_path(config)).pairs.exists()
