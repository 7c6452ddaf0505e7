"""docs/faults.md says what the tests have counted."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def page() -> str:
    if not DOCS.exists():
        pytest.skip("needs docs/, which the wheel does not hold")
    return (DOCS / "faults.md").read_text()


def test_the_table_is_what_the_tests_counted(page: str) -> None:
    spec = importlib.util.spec_from_file_location("docs_faults", DOCS / "faults.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.current(page) == page


def test_every_test_of_the_table_exists() -> None:
    root = DOCS.parent
    ledger = json.loads((DOCS / "faults.json").read_text())
    for tests in ledger.values():
        for node in tests:
            file, _, name = node.partition("::")
            function = name.rpartition("::")[2].partition("[")[0]
            assert f"def {function}(" in (root / file).read_text(), node


def test_what_was_injected_was_survived() -> None:
    ledger = json.loads((DOCS / "faults.json").read_text())
    for fault, tests in ledger.items():
        for entry in tests.values():
            assert entry["survived"] == entry["injected"] > 0, fault
