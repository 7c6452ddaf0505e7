"""How long commands take before they do their work. Asserts no time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Race, Seconds

TABLE = "Start-up"
RUN = (
    *("run", "softmax", "data.identities=60", "data.images_per_identity=20", "data.test_pairs=50"),
    *(
        "data.validation_pairs=30",
        "train.max_steps=1",
        "train.log_every=1",
        "tracking.enabled=false",
        "--again",
    ),
)


def called(*command: str) -> Callable[[], None]:
    return lambda: _call(*command)


def _call(*command: str, **environment: str) -> None:
    subprocess.run(
        [sys.executable, *command], env={**os.environ, **environment}, capture_output=True, check=True
    )


def test_help(race: Race) -> None:
    race(
        TABLE,
        "`bench --help`",
        ours=called("-m", "bench", "--help"),
        limit=("python -c pass", called("-c", "pass")),
    )


@pytest.mark.parametrize("command", ["check softmax", "list losses"])
def test_commands_that_know_every_component(race: Race, command: str) -> None:
    race(
        TABLE,
        f"`bench {command}`",
        ours=called("-m", "bench", *command.split()),
        limit=("import torch", called("-c", "import torch")),
        large=True,
    )


def test_first_step_of_a_second_run(race: Race, tmp_path: Path) -> None:
    def first_step(cache: Path) -> Seconds:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        start = time.time()
        _call("-m", "bench", *RUN, f"runtime.runs={tmp_path / 'runs'}", BENCH_CACHE=str(cache))
        (metrics,) = (tmp_path / "runs").glob("*/metrics.jsonl")
        with metrics.open() as lines:
            return Seconds(json.loads(next(lines))["time_ms"] / 1e3 - start)

    def anew() -> Seconds:
        shutil.rmtree(tmp_path / "empty", ignore_errors=True)
        return first_step(tmp_path / "empty")

    race(
        TABLE,
        "from the command to the first step: second run on the same 1,200 faces",
        ours=lambda: first_step(tmp_path / "cache"),
        peers={"first run, which draws them": anew},
        limit=("import torch", called("-c", "import torch")),
        large=True,
    )
