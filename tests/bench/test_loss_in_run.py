"""What `metrics.jsonl` holds of a run's loss: monitors, empty steps, the collapse alarm, losses of others."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Bench

TRIPLET = (
    "loss={name: triplet, mining: semi_hard}",
    "batch={name: pk, people: 6, images: 3}",
    "train.log_every=1",
    "tracking.enabled=false",
)
PAIR_MONITORS = (
    "active_share",
    "empty",
    "loss_to_collapse",
    "embedding_std",
    "effective_rank",
    *(f"{kind}_p{percent}" for kind in ("d_ap", "d_an") for percent in (5, 50, 95)),
)


def logged(workspace: Path) -> list[dict[str, float]]:
    (file,) = workspace.glob("runs/*/metrics.jsonl")
    lines = [json.loads(line)["metrics"] for line in file.read_text().splitlines()]
    return [metrics for metrics in lines if "train/loss" in metrics]


def test_a_triplet_run_logs_every_monitor(bench_command: Bench, workspace: Path) -> None:
    assert bench_command("run", "tiny.yaml", *TRIPLET).code == 0
    for metrics in logged(workspace):
        assert {f"train/{name}" for name in PAIR_MONITORS} <= set(metrics)
        assert 0.0 < metrics["train/active_share"] <= 1.0 and metrics["train/empty"] == 0.0
        percentiles = [metrics[f"train/d_an_p{percent}"] for percent in (5, 50, 95)]
        assert percentiles == sorted(percentiles) and 0.0 < percentiles[2] <= 4.0


def test_a_step_without_a_valid_triplet_is_logged_and_leaves_the_weights_alone(
    bench_command: Bench, workspace: Path
) -> None:
    """One image a person: there is no anchor-positive pair at all."""
    ended = bench_command(
        "run", "tiny.yaml", *TRIPLET, "batch.people=9", "batch.images=1", "train.max_steps=4"
    )
    assert ended.code == 0
    lines = logged(workspace)
    assert len(lines) == 4
    for metrics in lines:
        assert metrics["train/empty"] == 1.0
        assert metrics["train/loss"] == 0.0 and metrics["train/gradient_norm"] == 0.0
        assert not math.isfinite(metrics["train/active_share"] or math.nan)  # of no triplet there is no share


FOLD = """
from losses import LOSSES, Loss, LossOutput


@LOSSES.register
class Fold(Loss):
    '''Pull every embedding to one direction.'''

    def compute(self, embeddings, labels):
        total = (1.0 - embeddings[:, 0] / embeddings.norm(dim=1)).mean()
        return LossOutput(total, {"fold": total.detach()})
"""


COLLAPSING = (
    "plugins=[fold.py]",
    "loss={name: sum, terms: [{loss: {name: fold}, weight: 50}, {loss: {name: triplet}}]}",
    "train.epochs=25",
    "optimizer.learning_rate=0.1",
    "schedule={name: constant}",
    *TRIPLET[1:],
)


def test_a_collapsed_run_says_so_once_and_what_helps(bench_command: Bench, workspace: Path) -> None:
    """A loss that rewards collapse, and a triplet term beside it that watches."""
    (workspace / "fold.py").write_text(FOLD)
    ended = bench_command("run", "tiny.yaml", *COLLAPSING)
    assert ended.code == 0, ended.err
    assert logged(workspace)[-1]["train/embedding_std"] < 0.1
    alarms = [line for line in (ended.err + ended.out).splitlines() if "collapse: all images" in line]
    assert len(alarms) == 1, ended
    assert "known to help: a lower learning rate" in alarms[0]


def test_on_a_terminal_the_alarm_is_a_line_that_stays(workspace: Path) -> None:
    (workspace / "fold.py").write_text(FOLD)
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "bench", "run", "tiny.yaml", *COLLAPSING]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "400"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=its_end) as running:
        os.close(its_end)
        shown = b""
        with contextlib.suppress(OSError):  # it is closed
            while news := os.read(terminal, 65536):
                shown += news
    os.close(terminal)
    assert running.returncode == 0, shown
    lines = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode().splitlines()
    alarms = [line.strip() for line in lines if "collapse: all images" in line]
    assert len(alarms) == 1
    assert re.match(r"tiny s0: step \d+: collapse: all images", alarms[0])


def test_a_center_run_logs_share_radius_and_distance(bench_command: Bench, workspace: Path) -> None:
    assert bench_command("run", "tiny.yaml", "tracking.enabled=false").code == 0
    for metrics in logged(workspace):
        assert 0.0 < metrics["train/center_share"] < 1.0
        assert metrics["train/center_radius"] > 0.0 and metrics["train/center_distance"] > 0.0


@pytest.mark.filterwarnings("ignore")
def test_a_loss_of_pytorch_metric_learning_is_trained_with_its_parameters(
    bench_command: Bench, workspace: Path
) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="needs pytorch-metric-learning")
    ended = bench_command("run", "tiny.yaml", "loss={name: 'pml:ProxyAnchorLoss'}", *TRIPLET[1:])
    assert ended.code == 0, ended.err
    assert all("train/proxy_anchor_loss" in metrics for metrics in logged(workspace))
    import torch

    *_, newest = sorted(workspace.glob("runs/*/checkpoints/step-*.pt"))
    state = torch.load(newest, weights_only=True)["learner"]
    shape = state["loss"]["module.proxies"].shape
    moments = [entry for entry in state["optimizer"]["state"].values() if entry["exp_avg"].shape == shape]
    assert moments and moments[-1]["exp_avg"].any()


@pytest.mark.filterwarnings("ignore")
def test_a_batch_that_a_loss_refuses_stops_the_run_in_one_line(bench_command: Bench) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="needs pytorch-metric-learning")
    ended = bench_command("run", "tiny.yaml", "loss={name: 'pml:SmoothAPLoss'}", "tracking.enabled=false")
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == (
        "step 1: loss: pml:SmoothAPLoss: smooth_aploss of pytorch-metric-learning: "
        "All classes must have the same number of elements in the labels."
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["loss={name: arcface}", "loss.margin=28.6"],
            "loss.margin: must be >= 0 and <= 3.14159 (radians), got 28.6 (command line)",
        ),
        (["loss={name: cosface}", "loss.scale=-1"], "loss.scale: must be > 0, got -1 (command line)"),
        (
            ["loss={name: triplet}", "loss.mining=semihard"],
            "loss.mining: must be one of 'all', 'distance_weighted', 'easy_positive', 'given', 'hard', "
            "'random', 'semi_hard', 'semi_hard_all', 'violating', got 'semihard'; did you mean 'semi_hard'? "
            "(command line)",
        ),
        (
            ["loss={name: 'pml:CircelLoss'}"],
            "loss.name: unknown loss 'pml:CircelLoss'; did you mean 'pml:CircleLoss'? (command line)",
        ),
        (
            ["loss={name: 'pml:CircleLoss'}", "loss.gama=3"],
            "loss.gama: unknown key; did you mean 'gamma'? (command line)",
        ),
        (
            ["loss={name: 'pml:ArcFaceLoss'}", "loss.margin=300"],
            "loss.margin: must be >= 0 and <= 180 (degrees), got 300 (command line)",
        ),
    ],
)
def test_mistakes_in_options_are_one_line_and_write_nothing(
    bench_command: Bench, workspace: Path, overrides: list[str], message: str
) -> None:
    ended = bench_command("run", "tiny.yaml", *overrides)
    assert (ended.code, ended.err.strip()) == (2, message)
    assert not (workspace / "runs").exists()
