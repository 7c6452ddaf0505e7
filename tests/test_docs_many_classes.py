"""docs/distributed.md: its table of many classes is what was measured."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "distributed.md").read_text()


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_many_classes", DOCS / "many_classes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_what_was_measured() -> None:
    assert generator().current(PAGE) == PAGE, "run: python docs/many_classes.py"


def test_another_figure_is_another_page() -> None:
    figures = json.loads((DOCS / "many_classes.json").read_text())
    page = generator().table(figures)
    assert page in PAGE
    figures["rows"][0]["peak_mib"] += 1000
    assert generator().table(figures) != page


def test_what_was_not_measured_says_so() -> None:
    figures = json.loads((DOCS / "many_classes.json").read_text())
    figures["rows"] = figures["rows"][1:]
    assert generator().table(figures).count("not measured") == 1 + PAGE.count("not measured")
