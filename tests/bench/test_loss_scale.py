"""The scale of an fp16 loss moves as torch's own, and a step that overflows is left out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import bench.engine
from bench import RunRecord, run
from bench.errors import TrainingError, UserError
from bench.learner import Learner
from bench.loss_scale import LossScale

from .test_run import UNTRACKED, curve, weights


def test_the_scale_moves_as_that_of_torchs_scaler() -> None:
    rng = np.random.default_rng(3)
    theirs = torch.amp.GradScaler("cpu")
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    mine = LossScale()
    for finite in [*(rng.random(30) > 0.5), *([True] * 4100), False]:
        theirs.scale(parameter.sum() * (1.0 if finite else math.inf)).backward()
        theirs.step(optimizer)
        theirs.update()
        optimizer.zero_grad()
        mine.update(finite=bool(finite))
        assert mine.scale == theirs.get_scale()


def test_its_state_comes_back() -> None:
    scale = LossScale()
    for finite in (False, True, True):
        scale.update(finite=finite)
    restored = LossScale()
    restored.load_state_dict(scale.state_dict())
    assert restored.state_dict() == {"scale": 32768.0, "good_steps": 2}


def test_fp16_is_refused_without_a_gpu(workspace: Path) -> None:
    words = (
        "^train.precision: fp16 trains on CUDA devices alone, and this is cpu; "
        "set train.precision=bf16 or float32$"
    )
    with pytest.raises(UserError, match=words):
        run("tiny.yaml", [*UNTRACKED, "train.precision=fp16", "runtime.device=cpu"])
    assert not Path("runs").exists()


def scaled_run(monkeypatch: pytest.MonkeyPatch, scale: float, *overrides: str) -> RunRecord:
    """A run in float32 with a scaled loss, as fp16 on a GPU has."""
    build = bench.engine.build

    def built(*arguments: object, **options: object) -> object:
        learner, *others = build(*arguments, **options)  # type: ignore[arg-type]
        assert isinstance(learner, Learner)
        learner.loss_scale = LossScale(scale)
        return learner, *others

    with monkeypatch.context() as patch:
        patch.setattr(bench.engine, "build", built)
        return run("tiny.yaml", [*UNTRACKED, "train.log_every=1", *overrides])


@pytest.mark.usefixtures("workspace")
class TestTrainingWithAScaledLoss:
    def test_a_power_of_two_changes_no_weight(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run("tiny.yaml", [*UNTRACKED, "train.max_steps=4", "train.log_every=1", "runtime.runs=plain"])
        scaled_run(monkeypatch, 1024.0, "train.max_steps=4")
        assert weights(Path("runs")) == weights(Path("plain"))
        plain = {step: metrics for step, metrics in curve(Path("plain")) if "train/loss" in metrics}
        for step, metrics in curve(Path("runs")):
            if "train/loss" in metrics:
                expected = plain[step] | {"train/loss_scale": 1024.0, "train/step_skipped": 0.0}
                assert metrics == expected

    def test_a_step_that_overflows_is_left_out_and_the_scale_halved(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scaled_run(monkeypatch, 2.0**130, "train.max_steps=8")
        lines = [metrics for _, metrics in curve(Path("runs")) if "train/loss" in metrics]
        skipped = [metrics["train/step_skipped"] for metrics in lines]
        assert skipped == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]  # 2**128 is no float32
        scales = [metrics["train/loss_scale"] for metrics in lines]
        assert scales[1] == scales[0] / 2
        assert math.isnan(lines[0]["train/gradient_norm"])
        (checkpoint,) = Path("runs").glob("*/checkpoints/step-*8.pt")
        state = torch.load(checkpoint, weights_only=True)["learner"]["loss_scale"]
        assert state["scale"] == scales[0] / 2 ** sum(skipped)

    def test_an_overflow_without_a_scale_to_lower_ends_the_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.nn.utils, "get_total_norm", lambda _: torch.tensor(math.inf))
        with pytest.raises(TrainingError, match=r"^step 1: the loss is finite"):
            scaled_run(monkeypatch, 1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fp16_trains_on_a_gpu_nearly_as_float32_does(workspace: Path) -> None:
    exact = run("tiny.yaml", [*UNTRACKED, "runtime.runs=exact", "runtime.device=cuda"])
    half = run("tiny.yaml", [*UNTRACKED, "train.precision=fp16", "runtime.device=cuda"])
    assert half.state == "FINISHED"
    assert half.metrics()["rendered/accuracy"] == pytest.approx(exact.metrics()["rendered/accuracy"], abs=0.2)
