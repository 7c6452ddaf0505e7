"""A workspace with a tiny experiment: the whole way in about a second once the faces are drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

import bench.cli

TINY = """\
description: a second of training
data: {name: rendered, identities: 12, images_per_identity: 6, size_px: 32,
       test_pairs: 4, validation_pairs: 3}
backbone: {name: small, embedding_dim: 16, width: 4}
loss: {name: center, factor: 0.01}
batch: {name: random, size: 18}
optimizer: {name: adamw, learning_rate: 1e-3}
schedule: {name: cosine}
augment: {shift_px: 1}
train: {epochs: 3, log_every: 3}
runtime: {threads: 1}
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Bench = Callable[..., Ended]


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def drawn() -> None:
    """For a test that is about the curves of a run: `workspace` leaves them as they are."""


def _one_pixel(path: Path, *_: object, **__: object) -> None:
    Image.new("RGB", (1, 1)).save(path)


@pytest.fixture
def workspace(
    tmp_path: Path, session_cache: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """An empty folder with tiny.yaml in it, which is also the working folder.

    The two curves of a run take half of a tiny one's time: here they are a pixel each (see `drawn`).
    """
    if "drawn" not in request.fixturenames:
        for figure in ("save_roc", "save_distance_histogram"):
            monkeypatch.setattr(f"reports.figures.{figure}", _one_pixel)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(session_cache))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.fixture
def bench_command(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    """Run `bench ARGUMENTS` in this process; exit code, standard output, standard error."""

    def call(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        code = 0
        try:
            bench.cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call
