"""Where each loss comes from and what proves it, read from its docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LABELS = {
    "Source": "paper",
    "Equation": "equation",
    "Differs from the paper": "differs",
    "Checked against": "checked",
}
_LINE = re.compile(rf"({'|'.join(_LABELS)}): (.*)")


@dataclass(frozen=True, slots=True)
class Source:
    """One row of the table loss -> paper -> equation -> reference -> test; empty where nothing is said.

    Args:
        paper: authors, venue, year, arXiv id and version.
        equation: its number in the paper, or the section.
        differs: what differs from the paper.
        checked: what value and gradient were compared with.
        tests: names of the tests that do it.
    """

    paper: str = ""
    equation: str = ""
    differs: str = ""
    checked: str = ""
    tests: tuple[str, ...] = ()


def source(factory: Callable[..., Any]) -> Source:
    """The `Source:`, `Equation:`, `Differs from the paper:` and `Checked against:` lines of a docstring.

    A line goes on over the indented lines that follow it.

    Example:
        >>> from losses import ArcFace
        >>> source(ArcFace).equation
        '3'
    """
    found: dict[str, str] = {}
    field = ""
    for line in (inspect.getdoc(factory) or "").splitlines():
        if match := _LINE.fullmatch(line):
            field = _LABELS[match[1]]
            found[field] = match[2].strip()
        elif field and line.startswith(" "):
            found[field] += f" {line.strip()}"
        else:
            field = ""
    found = {name: text.removesuffix(".") for name, text in found.items()}
    return Source(**found, tests=tuple(re.findall(r"\btest_\w+", found.get("checked", ""))))
