"""A report before it is Markdown or a page: headings, paragraphs, lists, tables and pictures, as plain text.

Nothing here is markup: the two writers escape every string, whatever configuration or data it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from reports.drawing import Picture


@dataclass(frozen=True)
class Heading:
    """Level 2 and 3; the title is level 1."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """One or more sentences."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """What a person types."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        columns: headings.
        rows: cells as text, as many as there are columns.
        text_columns: how many columns from the left hold words; the others hold numbers, to the right.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1


@dataclass(frozen=True)
class Figure:
    """A picture and how to read it."""

    picture: Picture


Block: TypeAlias = Heading | Paragraph | Bullets | Command | Table | Figure


@dataclass
class Document:
    """A title and what follows."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    def add(self, *blocks: Block | None) -> None:
        """Append what there is."""
        self.blocks += [block for block in blocks if block is not None]

    def pictures(self) -> list[Picture]:
        """All pictures, in order."""
        return [block.picture for block in self.blocks if isinstance(block, Figure)]


def bullets(items: Sequence[str]) -> Bullets | None:
    """A list, or nothing when there is nothing to list."""
    return Bullets(tuple(items)) if items else None
