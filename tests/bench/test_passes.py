"""Micro-batches: the loss sees the whole batch, and the gradient is that of the whole batch.

On two processes: test_distributed.py, which starts them once.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from bench import run
from bench.errors import UserError
from bench.passes import pieces

from .test_distributed import CONFIG, LOSSES, PLUGIN, assert_same
from .test_run import UNTRACKED, curve, weights

MICRO = "train.micro_batch=5"  # of 24 images, so that the last one holds four


@pytest.fixture
def grouped(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configurations of a backbone without batch normalisation, in float64."""
    (workspace / "grouped.py").write_text(PLUGIN)
    (workspace / "together.yaml").write_text(CONFIG)
    for name in LOSSES:
        (workspace / f"{name}.yaml").write_text(f"extends: together.yaml\nloss: {LOSSES[name]}\n")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return workspace


def test_a_last_image_that_would_stand_alone_joins_the_others() -> None:
    assert pieces(slice(3, 10), 3) == [slice(3, 6), slice(6, 10)]
    assert pieces(slice(0, 6), 3) == [slice(0, 3), slice(3, 6)]
    assert pieces(slice(0, 1), 3) == [slice(0, 1)]


@pytest.mark.parametrize("name", ["center", "arcface", "triplet-semi_hard", "memory", "joint"])
def test_micro_batches_equal_the_whole_batch_in_curves_weights_and_figures(grouped: Path, name: str) -> None:
    short = ["train.epochs=1"]
    run(f"{name}.yaml", [*short, "runtime.runs=whole"])
    run(f"{name}.yaml", [*short, "runtime.runs=parts", MICRO])
    assert_same(name, "whole", "parts", short, [*short, MICRO])


@pytest.mark.usefixtures("workspace")
class TestWithBatchNormAndDropout:
    def test_dropout_draws_the_same_masks_in_both_passes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn: list[torch.Tensor] = []
        dropout = torch.nn.functional.dropout

        def watched(values: torch.Tensor, *arguments: object) -> torch.Tensor:
            dropped = dropout(values, *arguments)  # type: ignore[arg-type]
            if arguments[1]:  # training
                drawn.append((dropped == 0.0).detach())
            return dropped

        monkeypatch.setattr(torch.nn.functional, "dropout", watched)
        run("tiny.yaml", [*UNTRACKED, "train.max_steps=1", "train.micro_batch=6", "backbone.dropout=0.5"])
        first, second = drawn[:3], drawn[3:]
        assert len(second) == 3
        assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
        assert not torch.equal(first[0], first[1])

    def test_each_micro_batch_enters_the_running_statistics_once(self) -> None:
        run("tiny.yaml", [*UNTRACKED, "train.max_steps=2", "train.micro_batch=6"])
        (checkpoint,) = Path("runs").glob("*/checkpoints/step-*2.pt")
        backbone = torch.load(checkpoint, weights_only=True)["learner"]["backbone"]
        counts = {int(value) for name, value in backbone.items() if name.endswith("num_batches_tracked")}
        assert counts == {2 * 3}

    def test_the_record_says_how_many_images_are_normalised_together(self) -> None:
        whole = run("tiny.yaml", [*UNTRACKED, "train.max_steps=1"])
        parts = run("tiny.yaml", [*UNTRACKED, "train.max_steps=1", "train.micro_batch=6"])
        assert whole.environment.batch_norm_images == 18
        assert parts.environment.batch_norm_images == 6

    def test_a_micro_batch_of_the_whole_batch_changes_nothing(self) -> None:
        run("tiny.yaml", [*UNTRACKED, "train.max_steps=3", "runtime.runs=whole"])
        run("tiny.yaml", [*UNTRACKED, "train.max_steps=3", "train.micro_batch=18"])
        assert curve(Path("whole")) == curve(Path("runs"))
        assert weights(Path("whole")) == weights(Path("runs"))

    def test_one_image_at_a_time_is_refused_where_statistics_need_more(self) -> None:
        words = (
            "train.micro_batch: one image at a time, but backbone small normalises over batches; "
            "set 2 or more"
        )
        with pytest.raises(UserError, match=re.escape(words)):
            run("tiny.yaml", [*UNTRACKED, "train.micro_batch=1"])
