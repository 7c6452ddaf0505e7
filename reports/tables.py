"""The tables of a report, from groups and contests."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence

from bench.results import to_the_second
from reports.confounds import loss_settings
from reports.contests import Contest
from reports.document import Table
from reports.groups import Group
from reports.numbers import interval, minutes, p_value, percent, places
from reports.statistics import mean

_CSV_COLUMNS = (
    "protocol",
    "configuration",
    "config_hash",
    "data_checksum",
    "loss",
    "metric",
    "seeds",
    "mean",
    "low",
    "high",
    "std_over_seeds",
    "interval",
)


def groups_table(groups: Sequence[Group]) -> Table:
    """What was compared: a group a row."""
    losses = loss_settings(groups)
    rows = [
        (
            group.label,
            losses[group.label],
            group.hash8,
            group.runs[0].record.data_name,
            group.data_checksum[:8],
            ", ".join(_commits(group)),
            ", ".join(map(str, group.seeds)),
        )
        for group in groups
    ]
    return Table(
        ("configuration", "loss", "hash", "data", "data checksum", "commit", "seeds"),
        tuple(rows),
        text_columns=7,
    )


def figures_table(
    groups: Sequence[Group],
    protocol: str,
    fars: Sequence[str],
    ranks: Mapping[str, Mapping[str, tuple[int, int]]],
) -> Table:
    """The protocol's figures: a group a row, percent but for the threshold and the AUC.

    Args:
        groups: with runs on the protocol.
        protocol: its name.
        fars: as metrics name them (`1e-3`).
        ranks: metric -> label -> places, where ranks were made.
    """
    columns = ["configuration", "seeds"]
    columns += [f"place by {metric_words(metric)}" for metric in ranks]
    columns += [
        "accuracy, %",
        "std over seeds",
        "± std over folds",
        "± standard error",
        "best threshold",
    ]
    columns += [f"{rule} at FAR {far}, %" for far in fars for rule in ("VAL", "exact VAL")]
    columns += ["AUC", "EER, %"]
    rows = []
    for group in groups:
        accuracy = group.estimate(protocol, "accuracy")
        row = [group.label, str(len(group.runs))]
        row += [places(found[group.label]) for found in ranks.values()]
        row += [
            interval(accuracy),
            percent(accuracy.std) if accuracy.count > 1 else "one seed",
            percent(_mean(group, protocol, "accuracy_std")),
            percent(_mean(group, protocol, "accuracy_se")),
            f"{_mean(group, protocol, 'best_threshold'):.3f}",
        ]
        for far in fars:
            row += [
                interval(group.estimate(protocol, f"{rule}_{far}"), digits=1)
                for rule in ("val_at_far", "val_exact_at_far")
            ]
        row += [
            interval(group.estimate(protocol, "auc"), scale=1, digits=4),
            interval(group.estimate(protocol, "eer")),
        ]
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows))


def contests_table(contests: Sequence[Contest]) -> Table:
    """Every difference, its interval and both tests."""
    rows = [
        (
            f"{one.first} vs {one.second}",
            metric_words(one.metric),
            "not comparable" if math.isnan(one.difference.value) else interval(one.difference),
            ", ".join(f"{100 * value:+.2f}" for value in one.by_seed.values()),
            p_value(one.p_seeds),
            p_value(one.p_pairs),
            "none" if math.isnan(one.effect) else f"{one.effect:+.3f}",
            f"{one.better} is better" if one.better else "cannot be told apart",
        )
        for one in contests
    ]
    return Table(
        (
            "first vs second",
            "metric",
            "difference, points",
            "seed by seed",
            "p over seeds",
            "p on the pairs",
            "effect h",
            "verdict",
        ),
        tuple(rows),
        text_columns=2,
    )


def cost_table(groups: Sequence[Group]) -> Table:
    """What each group used: a group a row, means over seeds."""
    rows = []
    for group in groups:
        records = [run.record for run in group.runs]
        rows.append(
            (
                group.label,
                f"{statistics.mean(record.budget.images for record in records):,.0f}",
                f"{statistics.mean(record.budget.images_forward_only for record in records):,.0f}",
                f"{statistics.mean(record.budget.steps for record in records):,.0f}",
                minutes(statistics.mean(record.timing.wall_s for record in records)),
                f"{statistics.mean(record.timing.images_per_s for record in records):,.0f}",
                f"{max(record.environment.peak_memory_mib for record in records):,.0f}",
                f"{records[0].num_parameters:,}",
                " / ".join(dict.fromkeys(record.environment.device_name for record in records)),
            )
        )
    return Table(
        (
            "configuration",
            "images forward + backward",
            "images forward only",
            "steps",
            "wall time, min",
            "images/s",
            "peak memory, MiB",
            "parameters",
            "device",
        ),
        tuple(rows),
    )


def runs_table(groups: Sequence[Group]) -> Table:
    """Every run: what identifies it, and its first figure."""
    rows = []
    for group in groups:
        for run in group.runs:
            record = run.record
            accuracy = ", ".join(
                f"{name} {percent(figures.metrics.get('accuracy', math.nan))}"
                for name, figures in sorted(record.protocols.items())
            )
            commit = (record.code.git_commit or record.code.version)[:12]
            dirty = " + changes" if record.code.git_dirty else ""
            rows.append(
                (
                    group.label,
                    str(record.seed),
                    record.config_hash[:12],
                    record.data_checksum[:12],
                    commit + dirty,
                    to_the_second(record.started_at),
                    accuracy,
                )
            )
    return Table(
        ("configuration", "seed", "hash", "data checksum", "code", "started", "accuracy, %"),
        tuple(rows),
        text_columns=7,
    )


def summary_table(groups: Sequence[Group], protocol: str, fars: Sequence[str]) -> Table:
    """The short table of a README, from records alone."""
    rows = []
    for group in groups:
        images = statistics.mean(run.record.budget.images for run in group.runs)
        rows.append(
            (
                group.label,
                str(len(group.runs)),
                interval(group.estimate(protocol, "accuracy")),
                *(interval(group.estimate(protocol, f"val_at_far_{far}"), digits=1) for far in fars),
                interval(group.estimate(protocol, "eer")),
                f"{images:,.0f}",
                group.hash8,
                ", ".join(_commits(group)),
            )
        )
    return Table(
        (
            "configuration",
            "seeds",
            "accuracy, %",
            *(f"VAL at FAR {far}, %" for far in fars),
            "EER, %",
            "images",
            "hash",
            "commit",
        ),
        tuple(rows),
    )


def csv_text(groups: Sequence[Group], protocols: Sequence[str]) -> str:
    """table.csv: one row a protocol, group and metric; full digits, empty where undefined."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for protocol in protocols:
        for group in groups:
            if not group.has(protocol):
                continue
            for metric in group.figures(protocol)[0].metrics:
                found = group.estimate(protocol, metric)
                kind = found.reason or "95 % t-interval over seeds"
                numbers = ["" if math.isnan(x) else repr(x) for x in (found.value, found.low, found.high)]
                std = "" if math.isnan(found.std) else repr(found.std)
                record = group.runs[0].record
                what = (protocol, _inert(group.label), record.config_hash, record.data_checksum)
                writer.writerow((*what, _inert(group.loss), metric, found.count, *numbers, std, kind))
    return stream.getvalue()


def metric_words(metric: str) -> str:
    """`VAL at FAR 1e-3` for `val_at_far_1e-3`."""
    for start, words in (("val_at_far_", "VAL at FAR "), ("val_exact_at_far_", "exact VAL at FAR ")):
        if metric.startswith(start):
            return words + metric.removeprefix(start)
    return {"auc": "AUC", "eer": "EER"}.get(metric, metric)


def _mean(group: Group, protocol: str, metric: str) -> float:
    return mean(group.values(protocol, metric)).value


def _commits(group: Group) -> list[str]:
    codes = [run.record.code for run in group.runs]
    return list(
        dict.fromkeys(
            (code.git_commit or code.version)[:8] + (" + changes" if code.git_dirty else "") for code in codes
        )
    )


def _inert(text: str) -> str:
    """A spreadsheet takes a cell that begins so for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text
