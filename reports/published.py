"""Figures that others have published: beside ours, in a block of their own, never in our ranks."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from reports.document import Table


@dataclass(frozen=True, slots=True)
class Published:
    """One published figure on LFW.

    Args:
        system: who.
        loss: in the source's words.
        training_set: what it was trained on.
        backbone: the network.
        lfw_accuracy: percent, with the source's own +-, which may be either convention.
        val: VAL at FAR 1e-3, or at the FAR that stands beside it; empty when not published.
        source: where it is published.
        distance: in what it differs from our protocol, and whether it was read at second hand.
    """

    system: str
    loss: str
    training_set: str
    backbone: str
    lfw_accuracy: str
    val: str
    source: str
    distance: str


def read_published() -> tuple[Published, ...]:
    """The shipped rows, `reports/published.csv`."""
    text = files("reports").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(Published(**row) for row in csv.DictReader(text.splitlines()))


def published_table() -> Table:
    """The rows as a table of a report."""
    return Table(
        (
            "system",
            "loss",
            "trained on",
            "backbone",
            "LFW accuracy, %",
            "VAL",
            "source",
            "distance from ours",
        ),
        tuple(
            (
                row.system,
                row.loss,
                row.training_set or "-",
                row.backbone or "-",
                row.lfw_accuracy,
                row.val or "-",
                row.source,
                row.distance,
            )
            for row in read_published()
        ),
        text_columns=8,
    )
