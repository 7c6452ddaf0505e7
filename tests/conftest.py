"""Counts the faults that tests inject, for docs/faults.md.

BENCH_FAULTS=docs/faults.json python -m pytest -m faults     adds what this run counted
python docs/faults.py                                        writes the page from it
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

Injected = Callable[..., None]
_PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture
def injected(request: pytest.FixtureRequest) -> Iterator[Injected]:
    """Called as a fault is injected: what it is, what is lost by it, how often.

    A fault is survived when its test passes: the test says what that means.
    """
    counted: dict[str, dict[str, object]] = {}

    def count(fault: str, lost: str, times: int = 1) -> None:
        entry = counted.setdefault(fault, {"lost": lost, "injected": 0})
        entry["injected"] = int(str(entry["injected"])) + times

    yield count
    file = os.environ.get("BENCH_FAULTS")
    if not file:
        return
    path = Path(request.config.rootpath, file)
    ledger = json.loads(path.read_text()) if path.exists() else {}
    passed = request.node.stash.get(_PASSED, False)
    for fault, entry in counted.items():
        survived = entry["injected"] if passed else 0
        ledger.setdefault(fault, {})[request.node.nodeid] = {**entry, "survived": survived}
    path.write_text(json.dumps(ledger, indent=1, sort_keys=True) + "\n")
