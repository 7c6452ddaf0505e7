"""What the processes of a run do that are not its first: compute their share, and write nothing.

The first process opens the run folder, reads the checkpoint, and tells the others how to begin.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import torch

from bench.build import augmentation, preprocess
from bench.config import RunConfig
from bench.data import Data, PairProtocol
from bench.errors import BenchError
from bench.evaluate import Evaluation, evaluate_learner
from bench.interrupts import Interrupts
from bench.learner import Learner
from bench.progress import Quiet
from bench.results import MetricsLine, RunRecord
from bench.schedules import Schedule
from bench.timing import Clock
from bench.train import Length, Outside, Recipe, train


@dataclass(frozen=True)
class Begin:
    """Train on, from a checkpoint of the learner or from the start; or test, with the weights in it.

    Args:
        learner: the state as torch.save wrote it: tensors then arrive on any device, and nothing is executed.
    """

    learner: bytes | None

    @classmethod
    def of(cls, state: dict[str, Any] | None) -> Begin:
        """From the state of a learner."""
        if state is None:
            return cls(None)
        stream = io.BytesIO()
        torch.save(state, stream)
        return cls(stream.getvalue())


@dataclass(frozen=True)
class Over:
    """There is a record: of a run that had finished before, or of this one at its end.

    Args:
        record: as JSON.
    """

    record: str


@dataclass(frozen=True)
class Stop:
    """The first process cannot begin; it says why to the user itself.

    Args:
        message: one line.
        exit_code: of all processes.
    """

    message: str
    exit_code: int


class StoppedByFirst(BenchError):
    """The first process of the run could not begin, which it reports itself."""

    def __init__(self, stop: Stop) -> None:
        self.exit_code = stop.exit_code
        super().__init__(stop.message)


class _Silent:
    """Takes metrics and keeps none."""

    def append(self, line: MetricsLine) -> None:
        """Nothing: the first process writes the same line."""


def follow(
    config: RunConfig,
    data: Data,
    learner: Learner,
    schedule: Schedule,
    length: Length,
    device: torch.device,
    interrupts: Interrupts,
    *,
    test: bool = True,
) -> RunRecord:
    """Train and evaluate with the first process, and return its record.

    Raises:
        StoppedByFirst: it did not begin.
        Killed: a signal came to any process.
    """
    world = learner.world
    order = world.tell()
    if isinstance(order, Begin):
        if order.learner is not None:
            learner.load_state_dict(_opened(order.learner, device))

        def assess(protocol: PairProtocol) -> Evaluation:
            return evaluate_learner(
                learner,
                protocol,
                config,
                preprocess=preprocess(config),
                check=learner.shards.checking(interrupts.check),
            )

        def validate() -> dict[str, float]:
            figures = assess(data.validation).verification.metrics
            return {f"validation/{name}": value for name, value in figures.items()}

        def take_part() -> None:
            if learner.shards.is_divided:
                learner.state_dict()  # which the first process writes

        recipe = Recipe(
            data.train, augmentation(config), preprocess(config), schedule, length, config, device, world
        )
        train(learner, recipe, Outside(validate, take_part, _Silent(), Quiet(), interrupts, Clock()))
        if config.evaluate.weights == "best":
            chosen = world.tell()  # the first process has the checkpoint
            learner.evaluated.load_state_dict(_opened(chosen.learner, device))
        # as `Attempt.finish` does: validation for the thresholds, then the tests
        for protocol in (data.validation, *data.tests) if test else ():
            assess(protocol)
        order = world.tell()
    if isinstance(order, Stop):
        raise StoppedByFirst(order)
    assert isinstance(order, Over)
    return RunRecord.model_validate_json(order.record)


def _opened(state: bytes, device: torch.device) -> dict[str, Any]:
    opened: dict[str, Any] = torch.load(io.BytesIO(state), map_location=device, weights_only=True)
    return opened
