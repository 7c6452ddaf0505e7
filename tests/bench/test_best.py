"""Tests of the best checkpoint by validation: which it is, that it lasts, and what is tested with it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from bench import load_config, run
from bench.build import build
from bench.checkpoint import Checkpoints
from bench.data import DATASETS, cache_folder
from bench.engine import run_path
from bench.errors import BenchError, ConfigError
from bench.learner import Learner
from bench.results import RunFolder, read_metrics
from bench.tracking.contents import artifacts
from bench.trained import load_trained

from .conftest import Bench

CPU = torch.device("cpu")
UNTRACKED = "tracking.enabled=false"
# a learning rate that ruins what was learnt: validation does not rise to the end
WORSE = [
    UNTRACKED,
    "optimizer={name: sgd, learning_rate: 3.0}",
    "schedule={name: constant}",
    "train.epochs=5",
]


@pytest.fixture
def learner(workspace: Path) -> Learner:
    config = load_config("tiny.yaml")
    data = DATASETS.build("rendered", {"cache": cache_folder()}, config.data.options)
    built, _, _ = build(config, data, CPU)
    return built


def validations(folder: RunFolder, metric: str) -> dict[int, float]:
    lines = read_metrics(folder.metrics)
    return {line.step: line.metrics[metric] for line in lines if metric in line.metrics}


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("accuracy", [0.5, 0.9, 0.9, 0.7], 2),
        ("eer", [0.3, 0.1, 0.2, 0.1], 2),
        ("auc", [math.nan, 0.4, math.nan, 0.5], 4),
        ("auc", [math.nan, math.nan], None),
    ],
)
def test_the_first_best_stays_and_undefined_figures_are_none(
    learner: Learner, metric: str, values: list[float], best: int | None
) -> None:
    for step, value in enumerate(values, start=1):
        learner.step = step
        learner.note_validation({f"validation/{metric}": value}, metric)
    assert (learner.best.step if learner.best else None) == best


def test_the_best_checkpoint_outlives_the_last_ones(workspace: Path) -> None:
    config = load_config("tiny.yaml", [*WORSE, "runtime.checkpoints_kept=1"])
    record = run(config, track=False)
    folder = RunFolder(run_path(config))
    curve = validations(folder, "validation/accuracy")
    assert record.best is not None
    assert record.best.value == max(curve.values()) == curve[record.best.step]
    assert record.best.step == min(step for step, value in curve.items() if value == record.best.value)
    assert record.best.step < 20, "the recipe no longer ruins the training; choose another"
    assert sorted(path.name for path in folder.checkpoints.glob("*.pt")) == [
        f"best-{record.best.step:08d}.pt",
        "step-00000020.pt",
    ]
    assert record.tested_step == 20
    names = [path.name for path, _ in artifacts(folder, ended=True, with_checkpoint=True)]
    assert f"best-{record.best.step:08d}.pt" in names


def test_the_test_is_about_the_best_weights_where_it_is_asked_to_be(
    workspace: Path, bench_command: Bench
) -> None:
    last = run("tiny.yaml", WORSE)
    assert last.best is not None
    ended = bench_command("run", "tiny.yaml", *WORSE, "evaluate.weights=best")
    assert ended.code == 0, ended.err
    config = load_config("tiny.yaml", [*WORSE, "evaluate.weights=best"])
    record = RunFolder(run_path(config)).record()
    assert record is not None
    assert record.tested_step == last.best.step
    assert record.config_hash != last.config_hash
    shorter = run("tiny.yaml", [*WORSE, f"train.max_steps={last.best.step}"])
    assert record.protocols == shorter.protocols
    assert record.protocols != last.protocols
    line = (
        f"tiny s0: tested at step {last.best.step}, the best by validation/accuracy ({last.best.value:.4g})"
    )
    assert line in ended.out.splitlines()
    assert load_trained(run_path(config), CPU).step == last.best.step


def test_an_interrupted_run_keeps_its_best(workspace: Path) -> None:
    config = load_config("tiny.yaml", [*WORSE, "runtime.checkpoints_kept=20", "evaluate.weights=best"])
    whole = run(config, track=False)
    folder = RunFolder(run_path(config))
    assert whole.best is not None
    shutil.copytree(folder.path, "kept")
    for resumed_from in (4, whole.best.step, 16):
        shutil.rmtree(folder.path)
        shutil.copytree("kept", folder.path)
        (folder.path / "record.json").unlink()
        for path in folder.checkpoints.glob("step-*.pt"):
            if int(path.stem.removeprefix("step-")) > resumed_from:
                path.unlink()
        if resumed_from == whole.best.step:  # killed between the checkpoint and the best
            for path in folder.checkpoints.glob("best-*"):
                path.unlink()
        record = run(config, resume=True, track=False)
        assert record.resumed_from_step == resumed_from
        assert (record.best, record.protocols) == (whole.best, whole.protocols)


def test_a_best_from_beyond_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, kept=3)
    checkpoints.save({"step": 8})
    checkpoints.keep_best(8)
    checkpoints.drop_best_after(8)
    assert checkpoints.load_best(CPU) == {"step": 8}
    checkpoints.drop_best_after(7)
    assert checkpoints.load_best(CPU) is None


def test_a_better_one_replaces_the_best(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, kept=1)
    for step in (1, 2, 3):
        checkpoints.save({"step": step})
        if step < 3:
            checkpoints.keep_best(step)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best-00000002.json",
        "best-00000002.pt",
        "step-00000003.json",
        "step-00000003.pt",
    ]


def test_a_damaged_best_is_named_before_anything_is_tested(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def keep_and_damage(self: Checkpoints, step: int, keep: object = Checkpoints.keep_best) -> None:
        keep(self, step)  # type: ignore[operator]
        (best,) = self._paths("best")
        content = best.read_bytes()
        best.unlink()  # it is a link
        best.write_bytes(content[:-1])

    monkeypatch.setattr(Checkpoints, "keep_best", keep_and_damage)
    with pytest.raises(BenchError) as error, caplog.at_level("WARNING", logger="bench.checkpoint"):
        run("tiny.yaml", [UNTRACKED, "evaluate.weights=best", "train.max_steps=4"])
    assert "best-00000004.pt: is " in caplog.text
    assert str(error.value).endswith(
        "checkpoints: the best checkpoint by accuracy is gone or damaged; set evaluate.weights=last"
    )


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["evaluate.best=acc"],
            "evaluate.best: must be null or one of accuracy, auc, eer, val_at_far_1e-3, "
            "val_exact_at_far_1e-3, got 'acc' (command line)",
        ),
        (
            ["evaluate.best=val_at_far_1e-3", "evaluate.fars=[0.01]"],
            "evaluate.best: must be null or one of accuracy, auc, eer, val_at_far_1e-2, "
            "val_exact_at_far_1e-2, got 'val_at_far_1e-3' (command line)",
        ),
        (
            ["evaluate.best=null", "evaluate.weights=best"],
            "evaluate.weights: must be last where evaluate.best is null, got 'best' (command line)",
        ),
    ],
)
def test_mistakes_are_one_line(workspace: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config("tiny.yaml", overrides)
    assert error.value.problems == (said,)


@pytest.mark.parametrize("name", ["validation/auc", "auc"])
def test_a_metric_may_be_called_as_the_record_calls_it(workspace: Path, name: str) -> None:
    assert load_config("tiny.yaml", [f"evaluate.best={name}"]).evaluate.best == "auc"


def test_without_a_best_none_is_kept(workspace: Path) -> None:
    config = load_config("tiny.yaml", [UNTRACKED, "evaluate.best=null", "train.max_steps=4"])
    record: Mapping[str, object] = run(config, track=False).model_dump()
    assert record["best"] is None
    assert not list((run_path(config) / "checkpoints").glob("best*"))
