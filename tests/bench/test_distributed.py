"""Several processes train as one: real torchrun, real gloo, one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import RunRecord, load_config, run
from bench.engine import run_path
from bench.results import RunFolder, read_metrics

from ..conftest import Injected
from .conftest import TINY, Bench

pytestmark = pytest.mark.timeout(900)  # many processes that each import torch, on a machine that may be busy

# No batch norm (each process sees its own share), no dropout, and arithmetic whose order does not matter.
PLUGIN = """\
from torch import nn

from bench.backbones import BACKBONES


@BACKBONES.register
def grouped(*, embedding_dim: int = 16) -> nn.Module:
    'Two convolutions with group norm.'
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.GroupNorm(2, 8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2), nn.GroupNorm(2, 8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, embedding_dim),
    )
"""
CONFIG = """\
plugins: [grouped.py]
extends: tiny.yaml
backbone: {name: grouped}
batch: {name: pk, people: 8, images: 3}
optimizer: {name: sgd, learning_rate: 0.1, momentum: 0.9}
train: {epochs: 2, log_every: 1, precision: float64, ema_decay: 0.9}
tracking: {enabled: false}
"""
MININGS = (
    "all", "hard", "semi_hard", "semi_hard_all", "violating", "random", "distance_weighted", "easy_positive",
)  # fmt: skip
LOSSES = {
    "softmax": "{name: softmax}",
    "center": "{name: center, factor: 0.1}",
    "paper": "{name: center, factor: 0.1, convention: paper, centers: learnable}",
    "sphereface": "{name: sphereface}",
    "cosface": "{name: cosface}",
    "arcface": "{name: arcface}",
    "adaface": "{name: adaface}",
    **{f"triplet-{mining}": f"{{name: triplet, mining: {mining}}}" for mining in MININGS},
    "multi_similarity": "{name: multi_similarity}",
    "sup_con": "{name: sup_con}",
    "memory": "{name: cross_batch_memory, size: 60}",
    "joint": "{name: sum, terms: [{loss: {name: softmax}}, {loss: {name: triplet}, weight: 0.5}]}",
}
HEADS = ("center", "paper", "sphereface", "cosface", "arcface", "adaface")
SAMPLE_RATES = (0.6, 0.1, 0.8, 0.1, 0.6, 0.9, 0.1)
# 13 identities divide among neither two processes nor four; one run has all heads
DIVIDED = f"""\
loss: {{name: sum, terms: [{", ".join(f"{{loss: {LOSSES[head]}, weight: 0.2}}" for head in HEADS)}]}}
train: {{epochs: 1, clip_norm: 1.0}}
data: {{identities: 13, images_per_identity: 4}}
"""
# At 0.1 only the three people of the batch take part: of four processes at least one then holds none of them.
SAMPLED = f"""\
loss: {{name: sum, terms: [{
    ", ".join(
        f"{{loss: {{{LOSSES[head].strip('{}')}, sample_rate: {rate}}}, weight: 0.2}}"
        for head, rate in zip(("softmax", *HEADS), SAMPLE_RATES, strict=True)
    )
}]}}
batch: {{name: pk, people: 3, images: 4}}
optimizer: {{name: adamw, learning_rate: 0.01}}
train: {{epochs: 1, clip_norm: 1.0}}
data: {{identities: 13, images_per_identity: 4}}
"""
IN_SHARDS = "runtime: {shard_classes: true}\n"
FILES = {
    **{name: f"loss: {loss}\n" for name, loss in LOSSES.items()},
    # of 12 images of each of two processes, so that the last one holds two
    "joint-micro": f"loss: {LOSSES['joint']}\ntrain: {{micro_batch: 5}}\n",
    "divided": DIVIDED + IN_SHARDS,
    "sampled": SAMPLED + "runtime: {shard_classes: false}\n",
    "sampled-divided": SAMPLED + IN_SHARDS,
}
BY_FOUR = ("joint", "divided", "sampled-divided")


def write_files(folder: Path) -> None:
    (folder / "grouped.py").write_text(PLUGIN)
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "together.yaml").write_text(CONFIG)
    for name, text in FILES.items():
        (folder / f"{name}.yaml").write_text(f"extends: together.yaml\n{text}")


@pytest.fixture
def together(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_files(workspace)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return workspace


@pytest.fixture(scope="module")
def runs_of_all(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Path:
    """Every file, run by one process, by two and (some) by four.

    One start of torchrun for many files: a start costs more than a run.
    """
    folder = tmp_path_factory.mktemp("together")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BENCH_CACHE", str(session_cache))
        patch.setenv("OMP_NUM_THREADS", "1")
        write_files(folder)
        for name in FILES:
            run(f"{name}.yaml", ["runtime.runs=by-1"])
        launch(2, *(f"{name}.yaml" for name in FILES), "runtime.runs=by-2")
        launch(4, *(f"{name}.yaml" for name in BY_FOUR), "runtime.runs=by-4")
    return folder


def launch(processes: int, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """`bench run` on so many processes; one is started without torchrun."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", "bench", "run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode == 0) == (code == 0), done.stdout + done.stderr
    return done


Curves = dict[str, np.ndarray]


def outcome(
    name: str, runs: str, overrides: Sequence[str]
) -> tuple[RunRecord, Curves, dict[str, torch.Tensor]]:
    folder = RunFolder(run_path(load_config(f"{name}.yaml", [*overrides, f"runtime.runs={runs}"])))
    record = folder.record()
    assert record is not None
    curves: dict[str, list[float]] = {}
    for line in read_metrics(folder.metrics):
        for name, value in line.metrics.items():
            if name != "train/images_per_s":
                curves.setdefault(name, []).append(value)
    newest = sorted(folder.checkpoints.glob("step-*.pt"))[-1]
    learner = torch.load(newest, weights_only=True)["learner"]
    weights = {
        f"{part}.{name}": value
        for part in ("backbone", "loss", "ema")
        for name, value in learner[part].items()
    }
    return record, {name: np.array(values) for name, values in curves.items()}, weights


def assert_same(
    name: str,
    first: str,
    second: str,
    overrides: Sequence[str] = (),
    other_overrides: Sequence[str] | None = None,
) -> RunRecord:
    """Curves, weights and figures; the record of the second, whose overrides may be others."""
    alone, curves, weights = outcome(name, first, overrides)
    others = overrides if other_overrides is None else other_overrides
    record, other_curves, other_weights = outcome(name, second, others)
    assert curves.keys() == other_curves.keys()
    for metric, values in curves.items():
        np.testing.assert_allclose(other_curves[metric], values, rtol=1e-9, atol=1e-9, err_msg=metric)
    assert weights.keys() == other_weights.keys()
    for parameter, tensor in weights.items():
        torch.testing.assert_close(other_weights[parameter], tensor, rtol=1e-9, atol=1e-9)
    assert record.metrics() == pytest.approx(alone.metrics(), rel=1e-9, abs=1e-9, nan_ok=True)
    assert record.budget == alone.budget
    return record


@pytest.mark.parametrize(
    ("processes", "name"), [*((2, name) for name in FILES), *((4, name) for name in BY_FOUR)]
)
def test_processes_equal_one_in_curves_weights_and_figures(
    runs_of_all: Path, monkeypatch: pytest.MonkeyPatch, processes: int, name: str
) -> None:
    monkeypatch.chdir(runs_of_all)
    assert assert_same(name, "by-1", f"by-{processes}").environment.processes == processes


def test_a_batch_that_does_not_divide_is_refused_once_and_nothing_is_written(together: Path) -> None:
    done = launch(2, "joint.yaml", "batch={name: random, size: 9}", code=2)
    words = "batch: 9 images do not divide among 2 processes; choose a multiple of 2\n"
    assert done.stderr.count(words) == 1
    assert not Path("runs").exists()


def test_what_only_the_first_process_can_refuse_ends_all(together: Path) -> None:
    run("joint.yaml", ["train.max_steps=2"])
    folder = run_path(load_config("joint.yaml", ["train.max_steps=2"]))
    (folder / "record.json").unlink()
    done = launch(2, "joint.yaml", "train.max_steps=2", code=2)
    words = f"{folder}: holds an unfinished run; continue it with --resume, or start it anew with --again\n"
    assert done.stderr.count(words) == 1


def test_a_finished_run_is_shown_by_the_first_process_alone(together: Path) -> None:
    run("joint.yaml", ["train.max_steps=2"])
    done = launch(2, "joint.yaml", "train.max_steps=2")
    assert done.stdout.count("rendered: 10 folds") == 1


def test_gpus_that_are_not_there_are_refused(together: Path, bench_command: Bench) -> None:
    if torch.cuda.device_count() >= 64:
        pytest.skip("needs a machine with fewer than 64 GPUs")
    ended = bench_command("run", "joint.yaml", "--gpus", "64")
    assert ended.code == 2
    assert ended.err == f"--gpus 64: this machine has {torch.cuda.device_count()} that torch can use\n"


# classes divided, so that a checkpoint of one process is cut for two, and put together again; and sampled
LONG = [
    "joint.yaml", "train.epochs=60", "runtime={checkpoint_every_s: 0.2, shard_classes: true}",
    "loss={name: sum, terms: [{loss: {name: softmax, sample_rate: 0.85}}, {loss: {name: triplet}}]}",
]  # fmt: skip


@contextmanager
def running(processes: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """As `launch`, while the block runs; afterwards it has ended or is killed."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", "bench", "run", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdout is not None and not process.stdout.closed:  # the block has not read it to its end
            process.communicate()


def long_folder(runs: str) -> RunFolder:
    return RunFolder(run_path(load_config(LONG[0], [*LONG[1:], f"runtime.runs={runs}"])))


def wait_for_step(folder: RunFolder, step: int, process: subprocess.Popen[str]) -> None:
    """Until the run is past that step and has a checkpoint of it."""
    deadline = time.monotonic() + 200
    while not any(int(path.stem[5:]) >= step for path in folder.checkpoints.glob("step-*.json")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"step {step} was not reached"
        time.sleep(0.02)


def rank_pid(launcher: subprocess.Popen[str], rank: int) -> int:
    """The process that torchrun started as that rank."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    for child in children:
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"no child of rank {rank} among {children}")


@pytest.mark.faults
def test_a_run_goes_on_from_one_process_to_two_and_back_as_if_never_stopped(
    together: Path, injected: Injected
) -> None:
    launch(1, *LONG, "runtime.runs=whole")
    parts = long_folder("parts")
    with running(1, *LONG, "runtime.runs=parts") as one:
        wait_for_step(parts, 20, one)
        one.kill()
        one.wait()
    with running(2, *LONG, "runtime.runs=parts", "--resume") as two:
        wait_for_step(parts, 70, two)
        os.kill(rank_pid(two, 1), signal.SIGTERM)  # to one of them: all stop after the same step
        two.wait(60)
        injected(
            "kill -9, then SIGTERM to one rank, over 1, 2 and 1 processes",
            "the steps since the last checkpoint, done again",
            times=2,
        )
    state = parts.state()
    assert state is not None
    assert state.state == "KILLED"
    launch(1, *LONG, "runtime.runs=parts", "--resume")
    record = assert_same(LONG[0].removesuffix(".yaml"), "whole", "parts", LONG[1:])
    assert record.resumed_from_step is not None
    assert record.resumed_from_step >= 70


@pytest.mark.faults
def test_a_process_that_dies_ends_the_run_which_then_continues(together: Path, injected: Injected) -> None:
    folder = long_folder("died")
    with running(2, *LONG, "runtime.runs=died") as both:
        wait_for_step(folder, 10, both)
        os.kill(rank_pid(both, 1), signal.SIGKILL)
        injected("a rank dies", "the steps since the last checkpoint, done again")
        both.wait(90)
        said = both.communicate()[0]
    assert both.returncode != 0
    state = folder.state()
    assert state is not None
    assert state.state == "FAILED"
    assert state.error is not None
    assert state.error.startswith("rank 0 of 2: rank 1 died: ")
    assert state.error.endswith("; continue with --resume")
    assert state.error in said
    launch(2, *LONG, "runtime.runs=died", "--resume")
    launch(1, *LONG, "runtime.runs=whole")
    assert_same(LONG[0].removesuffix(".yaml"), "whole", "died", LONG[1:])


@pytest.mark.faults
def test_a_process_that_hangs_is_named_soon_after_the_time_out(together: Path, injected: Injected) -> None:
    limited = [*LONG, "runtime.runs=hung", "runtime.timeout_s=20", "train.epochs=2000"]
    folder = RunFolder(run_path(load_config(limited[0], limited[1:])))
    with running(2, *limited) as both:
        wait_for_step(folder, 4, both)
        os.kill(rank_pid(both, 1), signal.SIGSTOP)
        injected("a rank hangs", "the steps since the last checkpoint, done again")
        said = both.communicate(timeout=200)[0]  # torchrun leaves the silent one 30 s of its own
    assert both.returncode != 0
    state = folder.state()
    assert state is not None
    assert state.state == "FAILED"
    assert state.error is not None
    assert state.error.startswith("rank 0 of 2: rank 1 did not come in time (runtime.timeout_s): ")
    assert state.error.endswith("; continue with --resume")
    assert state.error in said
