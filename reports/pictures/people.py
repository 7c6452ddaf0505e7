"""Embedding maps of a few people, and the pairs of faces that each group finds hardest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import NullLocator

from reports.colors import COLORS, MARKERS
from reports.drawing import GREY, Picture, picture
from reports.faces import Faces, HardPair, plane

MOST_PEOPLE = len(COLORS)
PAIRS_A_ROW = 5
_COLUMNS = 3


def embedding_map(faces: Sequence[Faces]) -> Picture | None:
    """Each group's embeddings of the same faces on their own two main directions; None without any."""
    if not faces:
        return None
    columns = min(_COLUMNS, len(faces))
    rows = math.ceil(len(faces) / columns)
    num_people = int(faces[0].people.max()) + 1
    portraits = faces[0].portraits

    key_height = 0.3 if portraits is None else 0.9  # inches

    def draw(figure: Figure) -> None:
        key, panels = figure.subfigures(2, 1, height_ratios=[key_height, 2.9 * rows], squeeze=False)[:, 0]
        _key(key)
        axes = panels.subplots(rows, columns, squeeze=False)
        for place, one in zip(axes.flat, faces, strict=False):
            _panel(place, one)
        for place in axes.flat[len(faces) :]:
            place.set_visible(False)

    def _key(figure: SubFigure) -> None:
        axes = figure.subplots(1, num_people, squeeze=False)[0]
        for person, place in enumerate(axes):
            _bare(place)
            name = f"person {person + 1}"
            if portraits is not None:
                place.imshow(portraits[person].transpose(1, 2, 0))
                place.set_title(name, fontsize=8, color=COLORS[person])
            else:
                place.text(
                    0.2, 0.5, name, fontsize=8, color=COLORS[person], va="center", transform=place.transAxes
                )
            place.plot(
                [0.08],
                [0.08 if portraits is not None else 0.5],
                MARKERS[person],
                color=COLORS[person],
                markeredgecolor="white",
                markersize=9,
                transform=place.transAxes,
                clip_on=False,
            )

    def _panel(axes: Axes, one: Faces) -> None:
        points, share = plane(one.embeddings)
        for person in range(num_people):
            own = points[one.people == person]
            axes.plot(
                own[:, 0],
                own[:, 1],
                MARKERS[person],
                color=COLORS[person],
                markeredgecolor="white",
                markeredgewidth=0.4,
                markersize=6,
            )
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.08)
        axes.grid(True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=7)
        axes.set_title(f"{one.label} s{one.seed}\n{share:.0%} of the variance", fontsize=10, loc="left")

    first = faces[0]
    return picture(
        f"{first.protocol}_embedding_map",
        draw,
        size=(1.0 + 2.9 * columns, key_height + 0.3 + 2.9 * rows),
        alt=f"embeddings of {num_people} people by {', '.join(one.label for one in faces)}",
        caption=(
            f"The same faces of {num_people} people of the test, by one run a group, on the two directions "
            "in which its embeddings of them differ most. Colours and marks are people here, not losses. "
            "What lies apart is apart; what lies together may differ in directions that are not shown."
        ),
    )


def hardest_pairs(faces: Sequence[Faces]) -> Picture | None:
    """Worst errors of each group, two rows a group; None where no faces may be shown, or nothing is wrong."""
    kinds = [
        (f"{one.label} s{one.seed}: {words}", pairs)
        for one in faces
        for words, pairs in (
            ("two people, taken for one (the closest first)", one.false_accepts),
            ("one person, taken for two (the farthest first)", one.false_rejects),
        )
        if pairs
    ]
    if not kinds:
        return None

    def draw(figure: Figure) -> None:
        bands = figure.subfigures(len(kinds), 1, squeeze=False)[:, 0]
        for band, (title, pairs) in zip(bands, kinds, strict=True):
            band.suptitle(title, fontsize=9, x=0.01, ha="left")
            axes = band.subplots(1, PAIRS_A_ROW, squeeze=False)[0]
            for place in axes:
                _bare(place)
            for place, pair in zip(axes, pairs, strict=False):
                _pair(place, pair)

    return picture(
        f"{faces[0].protocol}_hardest_pairs",
        draw,
        size=(9.0, 0.2 + 1.45 * len(kinds)),
        alt="the pairs of faces that each group decides most wrongly",
        caption=(
            "Under each pair its distance. One run a group, at the mean of its folds' thresholds. These are "
            "the worst of all pairs, not typical ones."
        ),
    )


def _pair(axes: Axes, pair: HardPair) -> None:
    """Both faces side by side as one picture, so that one sees what belongs together."""
    gap = np.full((*pair.left.shape[:2], max(1, pair.left.shape[2] // 24)), 255, np.uint8)
    axes.imshow(np.concatenate([pair.left, gap, pair.right], axis=2).transpose(1, 2, 0), interpolation="none")
    axes.set_xlabel(f"{pair.distance:.2f}", fontsize=8, color=GREY)


def _bare(axes: Axes) -> None:
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    for side in axes.spines.values():
        side.set_visible(False)
