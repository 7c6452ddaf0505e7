"""docs/losses.md: its tables are current, its examples run."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bench.config import load_config

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "losses.md").read_text()


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def block(start: str) -> str:
    for text in re.findall(r"```\w+\n(.*?)```", PAGE, re.DOTALL):
        if text.startswith(start):
            return str(text)
    raise AssertionError(f"no block begins with {start!r}")


def test_the_tables_are_current() -> None:
    assert generator().current(PAGE) == PAGE, "run: python docs/tables.py"


def test_a_changed_table_is_written_anew() -> None:
    spoilt = PAGE.replace("| `arcface` |", "| `oldface` |")
    assert spoilt != PAGE and generator().current(spoilt) == PAGE


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((\.\./[^)#]+)\)", PAGE)
    assert len(links) > 20
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_the_loss_of_ones_own_passes_the_contract_from_its_two_files(tmp_path: Path) -> None:
    for name in ("ring.py", "test_ring.py", "ring.yaml"):
        (tmp_path / name).write_text(block(f"# {name}"))
    tested = run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "test_ring.py")
    assert tested.returncode == 0 and " passed" in tested.stdout, tested.stdout
    checked = run(tmp_path, "bench", "check", "ring.yaml", "--explain")
    assert checked.returncode == 0 and re.search(r"radius +8\.0", checked.stdout), checked.stdout


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: another page's example has the same name."""
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_example_of_pytorch_metric_learning_is_valid(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="needs pytorch-metric-learning")
    (tmp_path / "circle.yaml").write_text(block("# circle.yaml"))
    assert load_config(tmp_path / "circle.yaml").loss.options == {"m": 0.4, "gamma": 80.0}
