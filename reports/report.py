"""The report of a comparison: from runs to a document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bench.errors import UserError, did_you_mean
from bench.results import RunRecord
from reports import pictures, tables
from reports.colors import styles
from reports.confounds import find_confounds
from reports.document import Command, Document, Figure, Heading, Paragraph, bullets
from reports.faces import Faces
from reports.groups import Group, make_groups, protocols_of
from reports.published import published_table
from reports.records import Collection, Gap
from reports.section import ProtocolSection

Look: TypeAlias = Callable[[Sequence[Group]], tuple[list[Faces], list[Gap]]]

_MOST_CURVES = 8  # a figure with more lines tells nobody anything


@dataclass(frozen=True)
class Wishes:
    """What a person may ask of a report.

    Args:
        title: heading.
        baseline: name or label of the group that all others are compared with; None: every two.
        order: names that come first.
        commands: what to type to have it again.
        replicates: of the bootstrap behind the pair tests.
        waterfall: draw the variants as changes of the baseline.
    """

    title: str = "Comparison"
    baseline: str | None = None
    order: tuple[str, ...] = ("softmax", "center", "triplet")
    commands: tuple[str, ...] = ()
    replicates: int = 1000
    waterfall: bool = False


@dataclass(frozen=True)
class Report:
    """Everything that is written.

    Args:
        verdicts: what it comes to, a sentence a protocol and leading metric.
        document: text, tables and pictures.
        csv: the figures for other programs.
        records: file name -> record, without what only concerns the machine it ran on.
    """

    verdicts: tuple[str, ...]
    document: Document
    csv: str
    records: dict[str, RunRecord]


def make_report(collection: Collection, wishes: Wishes, look: Look | None = None) -> Report:
    """Compare the runs of a collection. The same runs and wishes give the same report, to the byte.

    Args:
        collection: the runs.
        wishes: what a person asked for.
        look: finds what their weights make of some faces, and why of some there is nothing.

    Raises:
        UserError: no finished run; a baseline that is not among the groups.
    """
    if not collection.runs:
        first = f" ({collection.gaps[0].what}: {collection.gaps[0].reason})" if collection.gaps else ""
        raise UserError(f"there is no finished run to report{first}")
    groups = make_groups(collection.runs, wishes.order)
    baseline = _baseline(groups, wishes.baseline)
    faces, unseen = look(groups) if look is not None else ([], [])
    document = Document(wishes.title)
    names = protocols_of(groups)
    sections = [
        ProtocolSection(groups, name, baseline, replicates=wishes.replicates, with_waterfall=wishes.waterfall)
        for name in names
    ]
    verdicts = tuple(sentence for section in sections for sentence in section.verdicts())
    document.add(bullets(verdicts))
    document.add(Heading("What was compared"), tables.groups_table(groups))
    document.add(_seeds_note(groups))
    for section in sections:
        section.write(document)
        of_test = [one for one in faces if one.protocol == section.protocol][:_MOST_CURVES]
        shown = [pictures.embedding_map(of_test), pictures.hardest_pairs(of_test)]
        document.add(*(Figure(picture) for picture in shown if picture))
    document.add(Heading("What it cost"), tables.cost_table(groups))
    document.add(
        Paragraph(
            "Images through forward and backward are the currency of a fair comparison; images that only go "
            "forward (to select triplets) and wall time stand beside it. Means over seeds, but the largest "
            "peak of memory."
        )
    )
    _confounds(document, groups)
    _training(document, groups)
    gaps = [*collection.gaps, *unseen]
    if gaps:
        document.add(Heading("What is missing"))
        document.add(bullets([f"{gap.what}: {gap.reason}" for gap in gaps]))
    document.add(Heading("Published figures, on LFW"))
    document.add(
        Paragraph(
            "For orientation only. Training sets, alignment, evaluation and choice of checkpoint differ from "
            "ours and from each other, ± follows each source's own convention, and a thread's figure is one "
            "person's word. None of them enters a rank above, and figures on rendered faces are no LFW "
            "figures."
        ),
        published_table(),
    )
    document.add(Heading("Every run"), tables.runs_table(groups))
    if wishes.commands:
        document.add(Paragraph("To have it again:"), Command(wishes.commands))
    return Report(verdicts, document, tables.csv_text(groups, names), _records(groups))


def _confounds(document: Document, groups: Sequence[Group]) -> None:
    document.add(Heading("What else differs"))
    found = find_confounds(groups)
    if len(groups) == 1:
        intro = "One group: nothing to compare it with. Settings that vary between its runs:"
    elif found:
        intro = (
            "Besides the loss the groups differ in what follows; a difference in figures may come from it:"
        )
    else:
        intro = "Nothing besides the loss: every recorded setting is the same in all groups."
    if found or len(groups) > 1:
        document.add(Paragraph(intro), bullets([one.sentence() for one in found]))
    else:
        document.add(Paragraph("One group, and all its runs have the same settings."))


def _training(document: Document, groups: Sequence[Group]) -> None:
    shown = groups[:_MOST_CURVES]
    found = [pictures.training(shown, styles(groups)), pictures.monitors(shown, styles(groups))]
    document.add(Heading("Training"))
    if not any(found):
        document.add(Paragraph("No curves: the records were kept without metrics.jsonl."))
    document.add(*(Figure(picture) for picture in found if picture))


def _seeds_note(groups: Sequence[Group]) -> Paragraph | None:
    sets = {group.seeds for group in groups}
    if len(sets) == 1:
        return None
    return Paragraph(
        "The groups have different seeds; differences are taken over those that two groups share."
    )


def _baseline(groups: Sequence[Group], name: str | None) -> Group | None:
    if name is None:
        return None
    found = [group for group in groups if name in (group.label, group.runs[0].record.name, group.hash8)]
    if len(found) == 1:
        return found[0]
    labels = [group.label for group in groups]
    if found:
        raise UserError(
            f"--baseline {name}: is one of {', '.join(group.label for group in found)}; say which"
        )
    raise UserError(f"--baseline {name}: none of {', '.join(labels)}{did_you_mean(name, labels)}")


def _records(groups: Sequence[Group]) -> dict[str, RunRecord]:
    found: dict[str, RunRecord] = {}
    for group in groups:
        for run in group.runs:
            record = run.record
            # where a run lay and was tracked is nobody's business elsewhere, and not part of its identity
            config = {
                key: value for key, value in record.config.items() if key not in ("runtime", "tracking")
            }
            name = f"{record.name}-{record.config_hash[:8]}-s{record.seed}"
            name = f"{name}-{record.data_checksum[:8]}" if f"{name}.json" in found else name
            found[f"{name}.json"] = record.model_copy(update={"config": config})
    return found
