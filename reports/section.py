"""The part of a report about one protocol: figures, places, differences, pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reports import pictures, tables
from reports.colors import styles
from reports.confounds import listed
from reports.contests import MIN_SEEDS, Contest, hold_contests, ranks
from reports.document import Document, Figure, Heading, Paragraph, bullets
from reports.drawing import Picture
from reports.groups import Group
from reports.numbers import ONE_SEED

_MOST_CURVES = 8  # a figure with more lines tells nobody anything
_CONVENTIONS = (
    "In brackets: 95 % t-interval of the mean over seeds. ± std over folds is facenet's convention (ddof 0), "
    "± standard error is LFW's; both are means over seeds of what one run shows, and neither knows of other "
    "seeds. VAL is facenet's rule (threshold interpolated on the training folds), exact VAL the order "
    "statistic over all pairs."
)
_OF_ONE_SEED = (
    "one seed: an interval, where there is one, is Wilson's and speaks of other pairs; of other seeds "
    "nothing is known."
)
_TESTS = (
    "First minus second. p over seeds: Student's paired test on the seeds that both have. p on the pairs: "
    "McNemar's exact test for accuracy, the paired bootstrap for the others, twice the mean over seeds. Both "
    "are corrected by Holm for all comparisons of that metric in this table. Better means: three shared "
    "seeds or more, and both below 0.05 (only the first where the pairs were not kept). Effect h is Cohen's: "
    "0.2 is small, 0.5 medium, 0.8 large."
)


class ProtocolSection:
    """One protocol: its groups, contests and places.

    Args:
        groups: of the report.
        protocol: its name.
        baseline: the group that all others are compared with; None: every two.
        replicates: of the bootstrap.
        with_waterfall: draw the groups as changes of the baseline.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        protocol: str,
        baseline: Group | None,
        *,
        replicates: int,
        with_waterfall: bool,
    ) -> None:
        self.protocol, self.with_waterfall = protocol, with_waterfall
        self.groups = [group for group in groups if group.has(protocol)]
        self.absent = [group.label for group in groups if not group.has(protocol)]
        self.baseline = baseline if baseline in self.groups else None
        self.styles = styles(groups)
        self.fars = sorted(
            {
                far
                for group in self.groups
                for figures in group.figures(protocol)
                for far in figures.val_facenet
            },
            key=float,
            reverse=True,
        )
        self.leading = ["accuracy", *(f"val_at_far_{far}" for far in self.fars[:1])]
        self.metrics = [
            "accuracy",
            *(f"{rule}_{far}" for far in self.fars for rule in ("val_at_far", "val_exact_at_far")),
            "auc",
            "eer",
        ]
        self.contests: list[Contest] = []
        if len(self.groups) > 1:
            self.contests = hold_contests(
                self.groups,
                protocol,
                self.metrics,
                baseline=self.baseline.label if self.baseline else None,
                replicates=replicates,
            )

    def of(self, metric: str) -> list[Contest]:
        """The contests of one metric."""
        return [one for one in self.contests if one.metric == metric]

    def verdicts(self) -> list[str]:
        """What the comparison comes to, a sentence for each leading metric."""
        return [
            f"{self.protocol}, by {tables.metric_words(metric)}: {_verdict(self.of(metric))}"
            for metric in self.leading
            if self.of(metric)
        ]

    def write(self, document: Document) -> None:
        """Append the section."""
        groups, protocol = self.groups, self.protocol
        if not groups:
            return
        pairs = {
            (figures.num_genuine, figures.num_impostor, len(figures.fold_accuracy))
            for group in groups
            for figures in group.figures(protocol)
        }
        kinds = " or ".join(
            f"{genuine:,} genuine and {impostor:,} impostor pairs in {folds} folds"
            for genuine, impostor, folds in sorted(pairs)
        )
        document.add(Heading(f"Figures on {protocol}"), Paragraph(f"{kinds}."))
        if any(run.record.data_name == "rendered" for group in groups for run in group.runs):
            document.add(Paragraph("Rendered faces: these figures compare losses; they are not LFW figures."))
        by_metric = {}
        if self.contests and self.baseline is None:
            labels = [group.label for group in groups]
            by_metric = {metric: ranks(labels, self.of(metric)) for metric in self.leading}
        document.add(tables.figures_table(groups, protocol, self.fars, by_metric))
        document.add(Paragraph(self._how_to_read()))
        document.add(bullets(self._notes()))
        if self.contests:
            document.add(Heading("Differences", 3), tables.contests_table(self.contests))
            document.add(Paragraph(_TESTS))
        for picture in self._pictures():
            document.add(Figure(picture))

    def _pictures(self) -> list[Picture]:
        found: list[Picture | None] = []
        protocol, fars = self.protocol, [float(far) for far in self.fars]
        drawn = [
            group for group in self.groups if any(run.pairs(protocol) is not None for run in group.runs)
        ][:_MOST_CURVES]
        if drawn:
            found += [
                pictures.roc(drawn, self.styles, protocol, fars),
                pictures.det(drawn, self.styles, protocol, fars),
                pictures.accuracy_by_threshold(drawn, self.styles, protocol),
                pictures.histograms(drawn, self.styles, protocol),
            ]
        comparable = [one for one in self.contests if not math.isnan(one.difference.value)]
        words = {metric: tables.metric_words(metric) for metric in self.leading}
        found.append(pictures.forest(comparable, self.styles, protocol, words))
        if self.with_waterfall and self.baseline is not None:
            found += [
                pictures.waterfall(
                    self.baseline,
                    [one for one in comparable if one.metric == metric],
                    protocol,
                    metric,
                    tables.metric_words(metric),
                )
                for metric in self.leading
            ]
        return [picture for picture in found if picture is not None]

    def _how_to_read(self) -> str:
        text = _CONVENTIONS
        if self.contests and self.baseline is None:
            text += " Groups that the data cannot separate share their places."
        if any(len(group.runs) == 1 for group in self.groups):
            text += f" {ONE_SEED} {_OF_ONE_SEED}"
        return text

    def _notes(self) -> list[str]:
        notes = [f"{listed(self.absent)}: not evaluated on {self.protocol}."] if self.absent else []
        for group in self.groups:
            for run in group.runs:
                figures = run.record.protocols[self.protocol]
                notes += [
                    f"{run.title}: {tables.metric_words(metric)}: {reason}."
                    for metric, reason in figures.reasons.items()
                ]
                notes += [f"{warning}." for warning in figures.warnings.values()]
                if figures.num_skipped:
                    notes.append(
                        f"{figures.num_skipped:,} official pairs are left out, an image of each is missing: "
                        "these are not the figures of the whole protocol."
                    )
                notes += [f"{run.record.data_name}: {note}." for note in run.record.data_notes]
                audit = run.record.data_audit
                if audit is not None and not audit.is_clean:
                    notes.append(f"{audit.train} beside {audit.test}: {audit.verdict}.")
        refused: dict[str, list[str]] = {}
        for one in self.contests:
            if one.refused:
                twos = refused.setdefault(one.refused, [])
                if (pair := f"{one.first} vs {one.second}") not in twos:
                    twos.append(pair)
        notes += [f"No test on the same pairs for {listed(twos)}: {why}." for why, twos in refused.items()]
        shared = max((len(one.by_seed) for one in self.contests), default=MIN_SEEDS)
        if shared < MIN_SEEDS:
            words = "One shared seed: what another training would give is unknown"
            if shared == 2:
                words = "Two shared seeds: two differences may be alike by chance"
            notes.append(
                f"{words}, so nothing is called better; it takes {MIN_SEEDS} "
                f"('bench compare --seeds {MIN_SEEDS}')."
            )
        if any(
            figures.subtract_mean and figures.metric in ("cosine", "angle")
            for group in self.groups
            for figures in group.figures(self.protocol)
        ):
            notes.append(
                "Mean subtraction: a run keeps each pair's distance as its own fold's test sees it. Tests on "
                "the pairs, ROC, DET and histograms are made of these, the table's figures of each fold's "
                "own: they may differ in the last digit."
            )
        return list(dict.fromkeys(notes))


def _verdict(contests: Sequence[Contest]) -> str:
    won = [one for one in contests if one.better]
    if not won and all(not math.isnan(one.difference.value) for one in contests):
        if len(contests) > 1 and len({one.second for one in contests}) == 1:
            return (
                f"the data cannot tell {listed([one.first for one in contests])} from {contests[0].second}."
            )
        names = list(dict.fromkeys(name for one in contests for name in (one.first, one.second)))
        return f"the data cannot tell apart {listed(names)}."
    parts = []
    for one in won:
        loser = one.second if one.better == one.first else one.first
        sign = 1 if one.better == one.first else -1
        low, high = sorted((sign * one.difference.low, sign * one.difference.high))
        parts.append(
            f"{one.better} is better than {loser} by {100 * abs(one.difference.value):.2f} points "
            f"[{100 * low:.2f}, {100 * high:.2f}]"
        )
    tied = [f"{one.first} and {one.second}" for one in contests if not one.better]
    if tied:
        parts.append(f"the data cannot tell apart {'; '.join(tied)}")
    return "; ".join(parts) + "."
