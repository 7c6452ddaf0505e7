"""Tables in a document that come from shipped records, so that no figure in it is typed by hand.

<!-- figures of docs/findings/rendered/records -->
...whatever stands here is replaced...
<!-- end of figures -->
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.errors import UserError
from reports.groups import make_groups, protocols_of
from reports.markdown import table_markdown
from reports.records import read_runs
from reports.tables import summary_table

_BLOCK = re.compile(r"(<!-- figures of (\S+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)
_ORDER = ("softmax", "center", "triplet")


def updated(text: str, root: Path) -> tuple[str, list[str]]:
    """The document with every table made anew.

    Args:
        text: of the document.
        root: folder that the records' folders are relative to.

    Returns:
        The new text, and the folders it names.

    Raises:
        UserError: a folder without records, or with a record that cannot be read.
    """
    places: list[str] = []

    def table(match: re.Match[str]) -> str:
        places.append(match[2])
        return match[1] + tables_of(root / match[2]) + match[3]

    return _BLOCK.sub(table, text), places


def tables_of(folder: Path) -> str:
    """A table a protocol, and what its numbers are."""
    collection = read_runs([folder])
    if collection.gaps:
        gap = collection.gaps[0]
        raise UserError(f"{folder}: {gap.what}: {gap.reason}; a shipped table must not have gaps")
    groups = make_groups(collection.runs, _ORDER)
    parts = []
    for protocol in protocols_of(groups):
        shown = [group for group in groups if group.has(protocol)]
        fars = sorted(shown[0].figures(protocol)[0].val_facenet, key=float, reverse=True)
        parts.append(f"\n{table_markdown(summary_table(shown, protocol, fars))}\n")
    parts.append(
        "\nMean over seeds and its 95 % t-interval; images that a run puts through forward and backward.\n\n"
    )
    return "".join(parts)
