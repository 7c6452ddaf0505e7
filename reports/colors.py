"""One colour a loss in every figure of every report; dashes and markers tell the rest apart, in grey too."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reports.groups import Group

# M. Okabe and K. Ito, Color Universal Design, 2008; yellow is left out, too faint on white paper
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MOST_ALIKE = 3  # groups of one loss that dashes alone keep apart

_OF_LOSS = {
    name: COLORS[index]
    for index, names in enumerate(
        [
            ("softmax",),
            ("center",),
            ("triplet",),
            ("arcface", "contrastive"),
            ("cosface", "multi_similarity"),
            ("sphereface", "sup_con"),
            ("adaface", "norm_softmax"),
        ]
    )
    for name in names
}


@dataclass(frozen=True, slots=True)
class Style:
    """How a group looks."""

    color: str
    dash: str | tuple[int, tuple[int, ...]]
    marker: str


def color_of(loss: str) -> str:
    """The loss's colour; one that we do not know gets the same of the seven each time."""
    return _OF_LOSS.get(loss) or COLORS[zlib.crc32(loss.encode()) % len(COLORS)]


def styles(groups: Sequence[Group]) -> dict[str, Style]:
    """Label -> style: colour by loss, dash and marker by place; colour by place too among variants of a loss.

    Those are groups of one loss alone, or more than three of one.
    """
    alike = max(Counter(group.loss for group in groups).values(), default=0)
    by_place = alike > _MOST_ALIKE or 1 < len(groups) == alike
    styled = {}
    for index, group in enumerate(groups):
        color = COLORS[index % len(COLORS)] if by_place else color_of(group.loss)
        other = index + index // len(COLORS)  # a colour that comes again comes with another dash and marker
        styled[group.label] = Style(color, DASHES[other % len(DASHES)], MARKERS[other % len(MARKERS)])
    return styled
