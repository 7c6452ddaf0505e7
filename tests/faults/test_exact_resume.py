"""A run killed at six moments ends with the bits of one that nobody touched: weights, curves, figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ..conftest import Injected
from .killing import RECIPES, same

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_killed_at_six_moments_ends_with_the_same_bits(
    recipe: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    injected: Injected,
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "faults-cache"))
    program = Path(__file__).with_name("killing.py")
    done = subprocess.run(
        [sys.executable, str(program), recipe, "--json", str(tmp_path / "trials.json")],
        capture_output=True,
        text=True,
    )
    assert (tmp_path / "trials.json").exists(), done.stderr
    trial = json.loads((tmp_path / "trials.json").read_text())[recipe]
    for kill in trial["kills"]:
        injected(f"kill -9 {kill['moment']}", "the steps since the last checkpoint, done again")
    assert [kill["continues_from"] for kill in trial["kills"]] == [
        kill["expected"] for kill in trial["kills"]
    ]
    assert trial["equal"] == dict.fromkeys(("weights", "optimizer", "metrics", "test"), True)
    assert trial["steps_logged_once"]
    assert trial["resumed_from_step"] == 12
    assert trial["left_over"] == []
    assert done.returncode == 0
    assert f"| {recipe} | yes | yes | yes | yes | yes | 12 |" in done.stdout.splitlines()
    torn = [line for line in done.stderr.splitlines() if "has no checksum beside it" in line]
    assert "step-00000008.pt" in torn[0]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"a": torch.ones(2)}, {"a": torch.ones(2)}, True),
        ({"a": torch.ones(2)}, {"a": torch.ones(2) + 1e-7}, False),
        ({"a": torch.ones(2)}, {"b": torch.ones(2)}, False),
        ([(1, {"x": float("nan")})], [(1, {"x": float("nan")})], True),
        ([1], [1, 2], False),
        (torch.ones(2), torch.ones(2, dtype=torch.float64), False),
    ],
)
def test_equality_is_bit_by_bit(one: object, other: object, expected: bool) -> None:
    assert same(one, other) is expected
