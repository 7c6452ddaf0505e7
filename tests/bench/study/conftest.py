"""A tiny study beside the tiny experiment, and the ledger of one without any training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.study.config import StudyConfig, load_study
from bench.study.ledger import Ledger
from bench.study.storage import open_place

STUDY = """\
extends: tiny.yaml
search:
  loss.factor: {float: [0.001, 0.1], log: true}
  optimizer.learning_rate: {float: [1e-4, 1e-2], log: true}
objective: {metric: validation/accuracy}
study: {trials: 3}
"""

Open = Callable[..., Ledger]


@pytest.fixture
def tiny_study(workspace: Path) -> Path:
    path = workspace / "my.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def open_ledger(tiny_study: Path) -> Iterator[Open]:
    """The ledger of my.yaml; opened again, it is as another process would find it after a kill."""
    with ExitStack() as stack:

        def call(*overrides: str) -> Ledger:
            stack.close()
            config: StudyConfig = load_study("my.yaml", overrides)
            place = stack.enter_context(open_place(None, Path("runs/studies/my"), lambda text: None))
            return Ledger(place, config)

        yield call
