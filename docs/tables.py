"""The tables of docs/losses.md, from the docstrings of the losses; `python docs/tables.py` writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from losses import LOSSES, MINERS, Source, source
from losses.registry import Registry

PAGE = Path(__file__).with_name("losses.md")
TESTS = PAGE.parents[1] / "tests" / "losses"
_TABLE = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def current(page: str) -> str:
    """The page with every table as the code has it now."""
    tables = {"losses": losses_table(), "miners": miners_table()}
    return _TABLE.sub(lambda found: found[1] + tables[found[2]] + found[3], page)


def losses_table() -> str:
    """Loss, paper, equation, what differs, reference, test."""
    rows = []
    for name in _own(LOSSES):
        origin = source(LOSSES.get(name))
        cells = (
            f"`{name}`",
            origin.paper,
            origin.equation,
            origin.differs,
            _reference(origin),
            _links(origin),
        )
        rows.append(cells)
    return _table(("loss", "paper", "equation", "differs from it", "checked against", "tests"), rows)


def miners_table() -> str:
    """Miner, what it takes."""
    return _table(("miner", "takes"), [(f"`{name}`", MINERS.summary(name)) for name in _own(MINERS)])


def _own(registry: Registry[Any]) -> list[str]:
    """Names of this package's: a process may have loaded a user's."""
    return [name for name in registry.names() if registry.get(name).__module__.startswith("losses.")]


def _reference(origin: Source) -> str:
    """What it is checked against, without the names of the tests."""
    text = re.sub(r":? ?\btest_\w+,? ?", "", origin.checked)
    return re.sub(r"\s*;\s*", "; ", text).strip(" ;,")


def _links(origin: Source) -> str:
    files = {test: path.name for path in sorted(TESTS.glob("test_*.py")) for test in _tests_in(path)}
    return "<br>".join(f"[{test}](../tests/losses/{files[test]})" for test in origin.tests)


def _tests_in(path: Path) -> list[str]:
    return re.findall(r"^ *def (test_\w+)\(", path.read_text(), re.MULTILINE)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text()))
