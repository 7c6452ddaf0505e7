"""What `runtime` and `train` say of arithmetic reaches torch and the record."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench import load_config, run
from bench.errors import ConfigError, UserError

from .test_distributed import CONFIG, PLUGIN, launch
from .test_run import UNTRACKED, curve


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("workspace")
class TestArithmetic:
    def test_deterministic_is_set_recorded_and_set_back_by_the_next_run(self) -> None:
        record = run("tiny.yaml", [*UNTRACKED, "train.max_steps=1", "runtime.deterministic=true"])
        assert torch.are_deterministic_algorithms_enabled()
        assert record.environment.deterministic is True
        record = run("tiny.yaml", [*UNTRACKED, "train.max_steps=2"])
        assert not torch.are_deterministic_algorithms_enabled()
        assert record.environment.deterministic is False

    def test_deterministic_and_chosen_by_trial_exclude_each_other(self) -> None:
        words = "runtime.deterministic: must be false where runtime.cudnn_benchmark is true, got true"
        with pytest.raises(ConfigError, match=re.escape(words)):
            load_config("tiny.yaml", ["runtime={cudnn_benchmark: true, deterministic: true}"])

    def test_settings_that_came_later_leave_the_hash_at_their_defaults(self) -> None:
        plain = load_config("tiny.yaml").hash
        for default in ("micro_batch=null", "compile=false", "sync_batch_norm=false"):
            assert load_config("tiny.yaml", [f"train.{default}"]).hash == plain
        for other in ("micro_batch=4", "compile=true", "sync_batch_norm=true"):
            assert load_config("tiny.yaml", [f"train.{other}"]).hash != plain

    def test_synchronised_statistics_are_refused_without_a_gpu_or_a_layer(self) -> None:
        words = (
            "train.sync_batch_norm: torch synchronises batch statistics on CUDA devices alone, and this is "
            "cpu; set train.sync_batch_norm=false"
        )
        with pytest.raises(UserError, match=re.escape(words)):
            run("tiny.yaml", [*UNTRACKED, "train.sync_batch_norm=true", "runtime.device=cpu"])
        assert not Path("runs").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler, which torch.compile calls")
def test_a_compiled_backbone_trains_as_an_eager_one_and_keeps_its_names(workspace: Path) -> None:
    (workspace / "grouped.py").write_text(PLUGIN)
    (workspace / "together.yaml").write_text(CONFIG)
    short = ["train={max_steps: 2, precision: float32}", "train.micro_batch=12"]
    run("together.yaml", [*short, "runtime.runs=eager"])
    run("together.yaml", [*short, "train.compile=true"])
    eager, compiled = (
        [metrics["train/loss"] for _, metrics in curve(Path(runs)) if "train/loss" in metrics]
        for runs in ("eager", "runs")
    )
    assert compiled == pytest.approx(eager, rel=1e-3)
    eager_names, names = (
        torch.load(next(Path(runs).glob("*/checkpoints/step-*2.pt")), weights_only=True)["learner"][
            "backbone"
        ].keys()
        for runs in ("eager", "runs")
    )
    assert names == eager_names


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("wanted", ["true", "false"])
def test_tf32_reaches_torch_on_a_gpu(workspace: Path, wanted: str) -> None:
    record = run(
        "tiny.yaml", [*UNTRACKED, "train.max_steps=1", f"runtime.tf32={wanted}", "runtime.device=cuda"]
    )
    assert record.environment.tf32 is (wanted == "true")
    assert torch.backends.cuda.matmul.allow_tf32 is (wanted == "true")
    assert torch.backends.cudnn.allow_tf32 is (wanted == "true")


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_with_synchronised_statistics_equal_one_with_the_whole_batch(workspace: Path) -> None:
    exact = [*UNTRACKED, "train.max_steps=3", "train.log_every=1", "train.precision=float64"]
    run("tiny.yaml", [*exact, "runtime.runs=one", "runtime.device=cuda"])
    launch(2, "tiny.yaml", *exact, "train.sync_batch_norm=true", "runtime.runs=two")
    one, two = (
        [metrics["train/loss"] for _, metrics in curve(Path(runs)) if "train/loss" in metrics]
        for runs in ("one", "two")
    )
    assert two == pytest.approx(one, rel=1e-6)
