"""What can be known of the trials before the first one starts: that they can be built, what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bench.build import build
from bench.data import DATASETS, cache_folder
from bench.distributed import World
from bench.errors import UserError
from bench.study.config import StudyConfig


@dataclass(frozen=True, slots=True)
class Cost:
    """A whole trial.

    Args:
        images: through forward and backward.
        evaluations: of the validation protocol.
    """

    images: int
    evaluations: int


def preflight(config: StudyConfig) -> Cost:
    """Build the study's own configuration once; draws the data, which the trials would else wait for.

    Raises:
        UserError: it cannot be built, its batch does not divide, or the pruner could never act.
    """
    base = config.base
    data = DATASETS.build(base.data.name, {"cache": cache_folder()}, base.data.options)
    learner, _, length = build(base, data, torch.device("cpu"))
    World(size=config.settings.processes_per_trial).check_batch(learner.source.size)
    evaluations = sum(length.evaluates_after(step) for step in range(1, length.total_steps + 1))
    if config.pruner.name != "none" and evaluations < 2:
        raise UserError(
            f"pruner.name: {config.pruner.name} would never act: {length.total_steps} steps have one "
            "evaluation, the last; lower evaluate.every_epochs, or use none"
        )
    return Cost(length.total_steps * learner.source.size, evaluations)


def refuse_unequal_budgets(studies: Sequence[tuple[StudyConfig, Cost]]) -> None:
    """See that a comparison of studies is fair: equal trials, images a trial, pruner, sampler and so on.

    Raises:
        UserError: says what differs, or which search would change the budget.
    """
    for config, _ in studies:
        for entry in config.space:
            if entry.path.partition(".")[0] in ("train", "batch"):
                raise UserError(
                    f"--equal-budget: {config.name} searches {entry.path} ({entry.origin}), which changes "
                    "the images a trial; leave it out"
                )
    for what, values in (
        ("trials", [str(config.settings.trials) for config, _ in studies]),
        ("images a trial", [f"{cost.images:,}" for _, cost in studies]),
        ("pruner", [str(config.pruner.tree()) for config, _ in studies]),
        ("sampler", [str(config.sampler.tree()) for config, _ in studies]),
        ("objective", [" and ".join(map(str, config.objectives)) for config, _ in studies]),
        ("data", [str(config.base.data.tree()) for config, _ in studies]),
        ("backbone", [str(config.base.backbone.tree()) for config, _ in studies]),
    ):
        if len(set(values)) > 1:
            each = ", ".join(
                f"{config.name} {value}" for (config, _), value in zip(studies, values, strict=True)
            )
            raise UserError(f"--equal-budget: the studies differ in {what}: {each}")
