"""How long commands take before they do their work. Asserts no time."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Race, Seconds

TABLE = "Start-up"
PEOPLE, PHOTOS = 5_749, 13_233  # as LFW has them
FOLDER_OF_PHOTOS = """\
data: {{name: folder, root: {root}, size_px: 64, validation: {{pairs: 10}}}}
backbone: {{name: small}}
loss: {{name: softmax}}
batch: {{name: random, size: 96}}
optimizer: {{name: adamw, learning_rate: 1e-3}}
schedule: {{name: constant}}
train: {{epochs: 1, max_steps: 1, log_every: 1}}
runtime: {{device: cpu}}
tracking: {{enabled: false}}
"""
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
    # With byte code beside the modules, as users have it: compiling ours takes a tenth of a second each time.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [sys.executable, *command], env={**inherited, **environment}, capture_output=True, check=True
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
    second_beside_first(race, tmp_path, RUN, "1,200 rendered faces", "first run, which draws them")


def test_first_step_of_a_second_run_on_photos(race: Race, tmp_path: Path, benchmark: Any) -> None:
    """As many people and photos as LFW has, 250 px; their 500 different files are soft noise."""
    if benchmark.enabled:  # else the race is left out
        write_photos(tmp_path / "photos")
    (tmp_path / "photos.yaml").write_text(FOLDER_OF_PHOTOS.format(root=tmp_path / "photos"))
    run = ("run", str(tmp_path / "photos.yaml"), "--again")
    second_beside_first(race, tmp_path, run, f"{PHOTOS:,} photos", "first run, which decodes them")


def second_beside_first(race: Race, tmp_path: Path, run: tuple[str, ...], what: str, first: str) -> None:
    def first_step(cache: Path) -> Seconds:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        start = time.time()
        _call("-m", "bench", *run, f"runtime.runs={tmp_path / 'runs'}", BENCH_CACHE=str(cache))
        (metrics,) = (tmp_path / "runs").glob("*/metrics.jsonl")
        with metrics.open() as lines:
            return Seconds(json.loads(next(lines))["time_ms"] / 1e3 - start)

    def anew() -> Seconds:
        shutil.rmtree(tmp_path / "empty", ignore_errors=True)
        return first_step(tmp_path / "empty")

    race(
        TABLE,
        f"from the command to the first step: second run on the same {what}",
        ours=lambda: first_step(tmp_path / "cache"),
        peers={first: anew},
        limit=("import torch", called("-c", "import torch")),
        large=True,
    )


def write_photos(root: Path) -> None:
    """IDENTITY/IDENTITY_0001.jpg: everybody has one, the other photos are anybody's."""
    import numpy as np
    from PIL import Image

    generator, choose = np.random.default_rng(0), random.Random(0)
    originals = root.parent / "originals"
    originals.mkdir()
    for number in range(500):
        coarse = generator.integers(0, 256, (25, 25, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize((250, 250), Image.Resampling.BICUBIC)
        image.save(originals / f"{number}.jpg", quality=90)
    for number in range(PHOTOS):
        person = number if number < PEOPLE else choose.randrange(PEOPLE)
        folder = root / f"person_{person:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(originals / f"{number % 500}.jpg", folder / f"person_{person:04d}_{number:05d}.jpg")
