"""Kills a run at chosen moments until it is through, and compares it with one that nobody touched.

    python tests/faults/killing.py              the table of docs/resume.md
    python tests/faults/killing.py softmax      one recipe
    python tests/faults/killing.py --json FILE  also for machines

Every attempt is a process forked from this one, which has imported torch and computed nothing, so that an
attempt costs what it trains. `kill -9` is real; the moments are met exactly, because the attempt sends it to
itself.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
import torch

import bench.attempt
import bench.checkpoint
import bench.train
from bench.config import load_config
from bench.engine import run, run_path
from bench.errors import BenchError
from bench.results import RunFolder, read_metrics

BASE = """\
data: {name: rendered, identities: 12, images_per_identity: 6, size_px: 32,
       test_pairs: 4, validation_pairs: 3}
backbone: {name: small, embedding_dim: 16, width: 8, dropout: 0.2}
schedule: {name: cosine}
augment: {shift_px: 1, rotate_deg: 5, erase: 0.3}
train: {epochs: 3, log_every: 5}
runtime: {threads: 1, checkpoint_every_s: 1000}
tracking: {enabled: false}
"""

RECIPES = {
    "softmax": """\
loss: {name: softmax}
batch: {name: random, size: 18}
optimizer: {name: sgd, learning_rate: 0.05, momentum: 0.9, nesterov: true}
""",
    "triplet": """\
loss: {name: triplet, mining: semi_hard}
batch: {name: pk, people: 6, images: 3}
optimizer: {name: adam, learning_rate: 1e-3}
""",
    "center": """\
loss: {name: center, factor: 0.01}
batch: {name: random, size: 18}
optimizer: {name: sgd, learning_rate: 0.05, momentum: 0.9}
""",
    "cross_batch_memory": """\
loss: {name: cross_batch_memory, loss: {name: contrastive}}
batch: {name: pk, people: 6, images: 3}
optimizer: {name: adamw, learning_rate: 1e-3}
""",
    "ema": """\
loss: {name: arcface}
batch: {name: random, size: 18}
optimizer: {name: adamw, learning_rate: 1e-3}
train: {ema_decay: 0.9, epochs: 3, log_every: 5}
evaluate: {weights: best}
""",
}


def kill() -> NoReturn:
    """As the kernel does it when memory runs out: nothing is cleaned up, nothing said."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def after_step(number: int) -> None:
    """After an optimiser step, before anything of it is written."""
    step = bench.train._step

    def dies(learner: Any, *arguments: Any) -> None:
        step(learner, *arguments)
        if learner.step == number:
            kill()

    bench.train._step = dies


def in_validation(number: int) -> None:
    """While the validation pairs of that step are embedded."""
    validate = bench.train._validate

    def dies(learner: Any, outside: Any, *arguments: Any) -> None:
        if learner.step == number:
            bench.attempt.evaluate_learner = lambda *ignored, **also: kill()
        validate(learner, outside, *arguments)

    bench.train._validate = dies


def in_checkpoint(number: int) -> None:
    """With half of the bytes of that step's checkpoint written."""
    save = torch.save

    def dies(state: Any, stream: Any) -> None:
        save(state, stream)
        if state["step"] == number:
            stream.truncate(stream.tell() // 2)
            stream.flush()
            os.fsync(stream.fileno())
            kill()

    torch.save = dies


def before_checksum(number: int) -> None:
    """With the checkpoint of that step in its place and no checksum beside it."""
    write = bench.checkpoint.write_json

    def dies(path: Path, value: Any) -> None:
        if path.name == f"step-{number:08d}.json":
            kill()
        write(path, value)

    bench.checkpoint.write_json = dies


def in_test(number: int) -> None:
    """After the last step, while the test pairs are embedded."""
    bench.attempt.Attempt._test = lambda *ignored: kill()


Moment = tuple[str, Callable[[int], None], int, int | None]
# what people read, how, at which step, from which step the next attempt goes on (None: from the start)
MOMENTS: tuple[Moment, ...] = (
    ("after step 2, before any checkpoint", after_step, 2, None),
    ("after step 7, between two checkpoints", after_step, 7, 4),
    ("during the validation of step 8", in_validation, 8, 4),
    ("in the middle of writing the checkpoint of step 8", in_checkpoint, 8, 4),
    ("between the checkpoint of step 8 and its checksum", before_checksum, 8, 4),
    ("during the test after step 12", in_test, 12, 12),
)


def attempt(config: Any, moment: Moment | None) -> int:
    """Go on with a run in a process of its own until the moment comes; returns its signal, or 0."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        try:
            if moment is not None:
                moment[1](moment[2])
            run(config, resume=True, track=False)
            os._exit(0)
        except BenchError as error:
            click.echo(str(error), err=True)
            os._exit(1)
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"an attempt failed with exit code {os.WEXITSTATUS(status)}")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def outcome(folder: RunFolder) -> dict[str, Any]:
    """Everything that a kill must not change."""
    record = folder.record()
    assert record is not None
    newest = sorted(folder.checkpoints.glob("step-*.pt"))[-1]
    learner = torch.load(newest, weights_only=True)["learner"]
    lines = [
        (line.step, {name: value for name, value in line.metrics.items() if name != "train/images_per_s"})
        for line in read_metrics(folder.metrics)
    ]
    return {
        "weights": {part: learner[part] for part in ("backbone", "loss", "ema")},
        "optimizer": learner["optimizer"],
        "metrics": lines,
        "test": (record.protocols, record.best, record.tested_step, record.budget),
    }


def same(one: Any, other: Any) -> bool:
    """Bit by bit; nan is nan."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))


def trial(name: str, folder: Path) -> dict[str, Any]:
    """One recipe: whole, and killed at every moment.

    Returns:
        "kills": of each moment the step that the next attempt went on from; "equal": what is the same.
    """
    file = folder / f"{name}.yaml"
    (folder / "base.yaml").write_text(BASE)
    file.write_text(f"extends: base.yaml\n{RECIPES[name]}")
    whole, killed = (load_config(file, [f"runtime.runs={folder / kind}"]) for kind in ("whole", "killed"))
    if attempt(whole, None):
        raise SystemExit("the run that nobody touches was killed")
    kills: list[dict[str, Any]] = []
    for moment in MOMENTS:
        received = attempt(killed, moment)
        if received != signal.SIGKILL:
            raise SystemExit(f"{name}: {moment[0]}: was not met")
        steps = [path.stem for path in RunFolder(run_path(killed)).checkpoints.glob("step-*.json")]
        last = max((int(step.removeprefix("step-")) for step in steps), default=None)
        kills.append({"moment": moment[0], "continues_from": last, "expected": moment[3]})
    attempt(killed, None)
    runs = [outcome(RunFolder(run_path(config))) for config in (whole, killed)]
    record = RunFolder(run_path(killed)).record()
    assert record is not None
    logged = [
        line.step
        for line in read_metrics(RunFolder(run_path(killed)).metrics)
        if "train/loss" in line.metrics
    ]
    return {
        "kills": kills,
        "equal": {part: same(runs[0][part], runs[1][part]) for part in runs[0]},
        "steps_logged_once": logged == sorted(set(logged)),
        "resumed_from_step": record.resumed_from_step,
        "left_over": [path.name for path in RunFolder(run_path(killed)).checkpoints.glob(".*")],
    }


def main(arguments: Sequence[str]) -> None:
    """Print the table; exit code 1 when anything differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", help=", ".join(RECIPES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    trials = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.recipes or RECIPES:
            (Path(folder) / name).mkdir()
            trials[name] = trial(name, Path(folder) / name)
    click.echo("| kill -9 | next attempt continues from |\n|---|---|")
    for kill_ in next(iter(trials.values()))["kills"]:
        step = kill_["continues_from"]
        click.echo(f"| {kill_['moment']} | {'the start' if step is None else f'step {step}'} |")
    parts = ["weights", "optimizer", "metrics", "test"]
    heads = [f"after {len(MOMENTS)} kills, bit-identical", *parts, "no step twice", "resumed_from_step"]
    click.echo(f"\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for name, result in trials.items():
        good = [*(result["equal"][part] for part in parts), result["steps_logged_once"]]
        row = [name, *("yes" if cell else "NO" for cell in good), str(result["resumed_from_step"])]
        click.echo(f"| {' | '.join(row)} |")
    if options.json:
        options.json.write_text(json.dumps(trials))
    if not all(all(result["equal"].values()) and result["steps_logged_once"] for result in trials.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
