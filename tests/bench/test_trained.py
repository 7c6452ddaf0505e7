"""Tests of bench/trained.py: a model read back from what its run left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench import load_config, run
from bench.build import build
from bench.data import DATASETS, cache_folder
from bench.embed import embed
from bench.engine import run_path
from bench.errors import UserError
from bench.evaluate import evaluate
from bench.trained import load_trained

CPU = torch.device("cpu")


@pytest.mark.parametrize("ema", ["null", "0.9"])
def test_a_trained_model_measures_the_distances_that_its_run_recorded(workspace: Path, ema: str) -> None:
    config = load_config("tiny.yaml", [f"train.ema_decay={ema}", "augment.standardize=per_image"])
    run(config, track=False)
    folder = run_path(config)
    trained = load_trained(folder, CPU)
    data = DATASETS.build("rendered", {"cache": cache_folder()}, config.data.options)
    again = evaluate(
        trained.backbone,
        data.tests[0],
        config.evaluate,
        device=CPU,
        preprocess=trained.preprocess,
        precision="float32",
    )
    with np.load(folder / "pairs.npz") as recorded:
        np.testing.assert_array_equal(again.test_distances, recorded["rendered/distances"])


def test_a_checkpoint_file_stands_for_itself_wherever_it_lies(workspace: Path) -> None:
    config = load_config("tiny.yaml")
    run(config, track=False)
    newest = sorted((run_path(config) / "checkpoints").glob("step-*.pt"))[-1]
    moved = newest.rename(workspace / "model.pt")
    trained = load_trained(moved, CPU)
    assert (trained.step, trained.config.hash) == (int(newest.stem.removeprefix("step-")), config.hash)
    data = DATASETS.build("rendered", {"cache": cache_folder()}, config.data.options)
    images = data.train.images[:3]
    rows = embed(trained.backbone, images, device=CPU, batch_size=3, preprocess=trained.preprocess)
    assert rows.shape == (3, 16)
    untrained, _, _ = build(config, data, CPU)
    before = embed(untrained.backbone, images, device=CPU, batch_size=3, preprocess=trained.preprocess)
    assert not np.allclose(rows, before)


def test_float64_weights_are_not_rounded_on_their_way_in(workspace: Path) -> None:
    config = load_config("tiny.yaml", ["train.precision=float64", "train.max_steps=2"])
    run(config, track=False)
    (folder,) = Path("runs").iterdir()
    newest = sorted((folder / "checkpoints").glob("step-*.pt"))[-1]
    saved = torch.load(newest, weights_only=True)["learner"]["backbone"]
    loaded = load_trained(folder, CPU).backbone.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in saved.items())


def test_what_holds_no_model_says_so(workspace: Path) -> None:
    with pytest.raises(UserError, match=r"^nowhere: no such run folder or checkpoint$"):
        load_trained(Path("nowhere"), CPU)
    Path("empty").mkdir()
    with pytest.raises(
        UserError, match=r"^empty: holds no checkpoint; name the folder of a run that has been trained$"
    ):
        load_trained(Path("empty"), CPU)
    torch.save({"weights": torch.ones(1)}, "other.pt")
    with pytest.raises(UserError, match=r"^other.pt: holds no trained model of faceloss-bench$"):
        load_trained(Path("other.pt"), CPU)
