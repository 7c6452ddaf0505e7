"""Out of memory: one line with what may fit, at whatever place it happens; the checkpoint before stays."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bench.cli
from bench import load_config, run
from bench.data import Preprocess
from bench.engine import run_path
from bench.errors import BenchError, TrainingError
from bench.judge.models import Model
from bench.memory import evaluation_message, is_out_of_memory, step_message
from bench.results import RunFolder

from ..conftest import Injected
from .conftest import Bench

HUGE = 2**60  # bytes: no machine has them, so that torch's own allocator refuses
# a backbone that asks for them when a photograph of its life comes by: at the 4th batch, or in evaluation
PLUGIN = f"""\
import torch
from torch import nn

from bench.backbones import BACKBONES


class Greedy(nn.Module):
    def __init__(self, embedding_dim: int, in_evaluation: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(3, embedding_dim)
        self.in_evaluation, self.calls = in_evaluation, 0

    def forward(self, images):
        self.calls += self.training
        if self.calls == 4 or (self.in_evaluation and not self.training and len(images) > 2):  # 2: its probe
            torch.empty({HUGE}, dtype=torch.uint8)
        return self.layer(images.mean(dim=(2, 3)))


@BACKBONES.register
def greedy(*, embedding_dim: int = 8, in_evaluation: bool = False) -> nn.Module:
    'Wants more than there is.'
    return Greedy(embedding_dim, in_evaluation)
"""
GREEDY = ["plugins=[greedy.py]", "backbone={name: greedy}", "tracking.enabled=false", "train.epochs=2"]


@pytest.fixture
def greedy(workspace: Path) -> list[str]:
    (workspace / "greedy.py").write_text(PLUGIN)
    return GREEDY


def allocation_error() -> RuntimeError:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(HUGE, dtype=torch.uint8)
    return raised.value


def test_memory_that_runs_out_is_told_from_other_errors() -> None:
    assert is_out_of_memory(allocation_error())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."))
    assert is_out_of_memory(MemoryError())
    with pytest.raises(MemoryError) as raised:
        np.empty(HUGE, np.uint8)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(
    ("part", "at_once", "message"),
    [
        (
            "backward",
            60,
            "step 3: out of memory on cuda:0 with 60 images at a time, of a batch of 240; 30 may fit (half "
            "of it, an estimate): set train.micro_batch=30, which keeps the gradient, or lower batch; the "
            "weights of step 2 are untouched",
        ),
        (
            "forward",
            3,
            "step 3: out of memory on cuda:0 with 3 images at a time; choose a smaller backbone or image; "
            "the weights of step 2 are untouched",
        ),
        (
            "loss",
            60,
            "step 3: out of memory on cuda:0 in the loss, with a batch of 240 images; 120 may fit (half of "
            "it, an estimate): lower batch; the weights of step 2 are untouched",
        ),
        (
            "optimizer",
            60,
            "step 3: out of memory on cuda:0 in the optimizer; choose a smaller backbone, or "
            "optimizer.name=sgd",
        ),
    ],
)
def test_the_message_depends_on_what_did_not_fit(part: str, at_once: int, message: str) -> None:
    assert step_message(3, part, "cuda:0", at_once=at_once, batch=240) == message


def test_images_that_are_only_looked_at_have_a_setting_of_their_own() -> None:
    assert evaluation_message("cpu", 64, "evaluate.batch_size=") == (
        "out of memory on cpu while 64 images were embedded at a time; 32 may fit (half of it, an estimate): "
        "set evaluate.batch_size=32"
    )
    assert evaluation_message("cpu", 1, "--batch-size ") == (
        "out of memory on cpu while 1 images were embedded at a time; choose a smaller backbone or image size"
    )


def test_a_step_that_does_not_fit_ends_in_one_line_and_keeps_the_checkpoint(
    greedy: list[str], injected: Injected
) -> None:
    overrides = [*greedy, "evaluate.every_epochs=0.5"]
    message = (
        "step 4: out of memory on cpu with 18 images at a time, of a batch of 18; 9 may fit (half of it, an "
        "estimate): set train.micro_batch=9, which keeps the gradient, or lower batch; the weights of step 3 "
        "are untouched"
    )
    with pytest.raises(TrainingError) as raised:
        run("tiny.yaml", overrides)
    assert str(raised.value) == message
    folder = RunFolder(run_path(load_config("tiny.yaml", overrides)))
    injected("out of memory in a step", "the run; its checkpoint stays")
    state, record = folder.state(), folder.record()
    assert state is not None
    assert record is not None
    assert (state.state, state.error) == ("FAILED", message)
    assert (record.state, record.error) == ("FAILED", message)
    assert [path.name for path in folder.checkpoints.glob("step-*.pt")] == ["step-00000002.pt"]


def test_an_evaluation_that_does_not_fit_names_its_own_batch(greedy: list[str], injected: Injected) -> None:
    injected("out of memory in an evaluation", "the run; its checkpoint stays")
    with pytest.raises(BenchError) as raised:
        run("tiny.yaml", [*greedy, "backbone.in_evaluation=true", "train.max_steps=2"])
    assert str(raised.value) == (
        "validation: out of memory on cpu while 256 images were embedded at a time; 128 may fit (half of it, "
        "an estimate): set evaluate.batch_size=128"
    )


def test_a_model_that_does_not_fit_is_not_taken_for_one_of_another_size() -> None:
    class Greedy(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.empty(HUGE, dtype=torch.uint8)

    model = Model("greedy", Greedy(), Preprocess("fixed", None), 16, torch.device("cpu"))
    with pytest.raises(BenchError) as raised:
        model.embed(np.zeros((4, 3, 16, 16), np.uint8), flip="none", batch_size=32)
    assert str(raised.value) == (
        "greedy: out of memory on cpu while 32 images were embedded at a time; 16 may fit (half of it, an "
        "estimate): set --batch-size 16"
    )


def test_anywhere_else_it_is_one_line_without_a_traceback(
    bench_command: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise MemoryError("Unable to allocate 1.00 EiB for an array")

    monkeypatch.setattr("bench.cli.running.plan", full)
    monkeypatch.setattr(sys.modules["bench.cli.run"], "plan", full)
    ended = bench_command("run", "tiny.yaml")
    assert ended.code == 1
    assert ended.err == "out of memory: Unable to allocate 1.00 EiB for an array\n"
    assert bench.cli.bench is not None
