"""What a conductor tells the ledger of a trial whose process died in between."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bench.results import MetricsLine, MetricsWriter, RunFolder
from bench.study.conduct import Conductor
from bench.study.ledger import Claim


def test_an_evaluation_that_was_saved_but_never_heard_is_reported_in_its_place(tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []

    def report(claim: Claim, step: int, metrics: Mapping[str, float]) -> None:
        told.append((step, metrics["validation/accuracy"]))

    objective = SimpleNamespace(metric="validation/accuracy")
    ledger = SimpleNamespace(config=SimpleNamespace(objectives=[objective]), report=report)
    conductor = Conductor(cast(Any, ledger), cast(Any, None), (), cast(Any, None))
    conductor._patiently = lambda act: act()  # type: ignore[method-assign]  # there is no storage to wait for
    with closing(MetricsWriter(RunFolder(tmp_path).metrics)) as writer:
        for step, accuracy in ((40, 0.7), (80, 0.8)):
            writer.append(MetricsLine(step - 20, 0, {"train/loss": 1.0}))
            writer.append(MetricsLine(step, 0, {"validation/accuracy": accuracy}))
    claim, job = Claim(0, {}), cast(Any, SimpleNamespace(folder=tmp_path))
    # the process that evaluated step 80 died before it could say so; the next one begins behind it
    conductor._report(claim, job, 120, {"validation/accuracy": 0.9})
    conductor._report(claim, job, 160, {"validation/accuracy": 0.95})
    assert told == [(40, 0.7), (80, 0.8), (120, 0.9), (160, 0.95)]
