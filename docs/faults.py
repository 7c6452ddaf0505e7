"""The table of docs/faults.md, from what the tests counted, docs/faults.json; run it to write the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

PAGE = Path(__file__).with_name("faults.md")
LEDGER = Path(__file__).with_name("faults.json")
_TABLE = re.compile(r"(<!-- generated -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = ("fault", "injected", "survived", "what is lost", "tests")


def current(page: str) -> str:
    """The page with the table as the tests have counted it."""
    return _TABLE.sub(lambda found: found[1] + table() + found[2], page)


def table() -> str:
    """A row a fault; its tests without their parameters."""
    rows: list[tuple[str, ...]] = [_HEAD, tuple("---" for _ in _HEAD)]
    for fault, tests in json.loads(LEDGER.read_text()).items():
        entries = tests.values()
        counts = [f"{sum(entry[key] for entry in entries):,}" for key in ("injected", "survived")]
        lost = "; ".join(dict.fromkeys(entry["lost"] for entry in entries))
        rows.append((fault, *counts, lost, "<br>".join(dict.fromkeys(map(_link, tests)))))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _link(node: str) -> str:
    file, _, name = node.partition("::")
    return f"[{name.rpartition('::')[2].partition('[')[0]}](../{file})"


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text()))
