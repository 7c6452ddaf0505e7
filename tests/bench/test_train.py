"""Tests of bench/train.py: what the loop lends to sources that select by distance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench import load_config, run
from bench.build import augmentation, build, preprocess
from bench.data import DATASETS, FaceSet, cache_folder
from bench.data.batches import Draw
from bench.distributed import ALONE
from bench.errors import BenchError
from bench.learner import Learner
from bench.train import Length, Recipe, length_in_words, not_finite_rows

from .test_run import UNTRACKED, PullsThePlug, curve, weights

CPU = torch.device("cpu")
ALL = slice(0, 10)
SUPER_BATCH = [
    *UNTRACKED,
    "loss={name: triplet, mining: given, average: all}",
    "batch={name: super_batch, people: 4, images: 5, triplets: 6}",
    "backbone.dropout=0.3",
    "augment={flip: true, shift_px: 2}",
]


def learner_and_recipe(overrides: list[str]) -> tuple[Learner, Recipe]:
    config = load_config("tiny.yaml", overrides)
    data = DATASETS.build(config.data.name, {"cache": cache_folder()}, config.data.options)
    learner, schedule, length = build(config, data, CPU)
    recipe = Recipe(
        data.train, augmentation(config), preprocess(config), schedule, length, config, CPU, ALONE
    )
    return learner, recipe


@pytest.mark.usefixtures("workspace")
class TestSelectionEmbeddings:
    def test_in_training_mode_they_are_those_of_a_training_step(self) -> None:
        learner, recipe = learner_and_recipe(SUPER_BATCH)
        indices = np.arange(10)
        before = learner.backbone.state_dict()["stem.1.running_mean"].clone()
        torch.manual_seed(0)
        embeddings = recipe.selection_embeddings(learner, indices, ALL, batch_size=4, training=True, number=3)
        assert not torch.equal(learner.backbone.state_dict()["stem.1.running_mean"], before)
        torch.manual_seed(0)
        with torch.no_grad():  # batches of four, four and two, with dropout, augmented for selection
            augmented = recipe.augment(recipe.pixels(indices), 3, 10, draw=Draw.SELECTION)
            expected = [learner.backbone(recipe.preprocess(part)) for part in augmented.split(4)]
        torch.testing.assert_close(embeddings, torch.cat(expected))
        assert learner.backbone.training

    def test_a_last_image_that_would_stand_alone_joins_the_batch_before(self) -> None:
        learner, recipe = learner_and_recipe([*SUPER_BATCH, "backbone.dropout=0"])
        indices = np.arange(9)
        embeddings = recipe.selection_embeddings(
            learner, indices, slice(0, 9), batch_size=4, training=True, number=3
        )
        with torch.no_grad():
            augmented = recipe.augment(recipe.pixels(indices), 3, 9, draw=Draw.SELECTION)
            expected = [learner.backbone(recipe.preprocess(part)) for part in augmented.split([4, 5])]
        torch.testing.assert_close(embeddings, torch.cat(expected))

    def test_a_share_of_them_is_what_the_whole_would_give_it(self) -> None:
        learner, recipe = learner_and_recipe([*SUPER_BATCH, "backbone.dropout=0"])
        indices = np.arange(8)
        whole, *shares = (
            recipe.selection_embeddings(learner, indices, rows, batch_size=4, training=True, number=3)
            for rows in (slice(0, 8), slice(0, 4), slice(4, 8))
        )
        torch.testing.assert_close(torch.cat(shares), whole)

    def test_frozen_parts_stand_still_in_a_selection_too(self) -> None:
        learner, recipe = learner_and_recipe([*SUPER_BATCH, "init.freeze=all_but_head"])
        before = {name: value.clone() for name, value in learner.backbone.named_buffers()}
        modes = {name: module.training for name, module in learner.backbone.named_modules()}
        recipe.selection_embeddings(learner, np.arange(10), ALL, batch_size=5, training=True, number=0)
        moved = [
            name for name, value in learner.backbone.named_buffers() if not torch.equal(value, before[name])
        ]
        assert moved
        assert all(name.startswith("head.") for name in moved)
        assert {name: module.training for name, module in learner.backbone.named_modules()} == modes

    def test_in_evaluation_mode_they_are_those_of_an_evaluation_and_change_nothing(self) -> None:
        learner, recipe = learner_and_recipe(SUPER_BATCH)
        indices = np.arange(10)
        before = {name: value.clone() for name, value in learner.backbone.state_dict().items()}
        embeddings = recipe.selection_embeddings(
            learner, indices, ALL, batch_size=4, training=False, number=3
        )
        assert learner.backbone.training
        for name, value in learner.backbone.state_dict().items():
            assert torch.equal(value, before[name])
        learner.backbone.eval()
        expected = learner.backbone(recipe.preprocess(recipe.pixels(indices)))
        torch.testing.assert_close(embeddings, expected.detach())


@pytest.mark.usefixtures("workspace")
class TestSuperBatchRun:
    def test_images_that_are_only_looked_at_are_counted_apart(self) -> None:
        record = run("tiny.yaml", SUPER_BATCH)
        assert record.state == "FINISHED"
        assert record.budget.steps == 12
        assert 0 < record.budget.images <= 12 * 18
        assert record.budget.images % 3 == 0
        assert record.budget.images_forward_only >= 20
        assert record.budget.images_forward_only % 20 == 0

    @pytest.mark.parametrize("mode", ["train", "eval"])
    def test_a_run_killed_in_the_middle_of_a_super_batch_ends_as_one_never_interrupted(
        self, mode: str
    ) -> None:
        overrides = [*SUPER_BATCH, f"batch.embed_mode={mode}"]
        whole = run("tiny.yaml", [*overrides, "runtime.runs=whole"])
        with pytest.raises(BenchError, match="pulled the plug"):
            run("tiny.yaml", overrides, progress=PullsThePlug(at_step=9))
        (checkpoint,) = Path("runs").glob("*/checkpoints/step-*8.pt")
        source = torch.load(checkpoint, weights_only=True)["learner"]["source"]
        assert 0 < source["used"] < len(source["selected"]), "the test must cut a super-batch in two"
        record = run("tiny.yaml", overrides, resume=True)
        assert record.resumed_from_step == 8
        assert record.protocols == whole.protocols
        assert record.budget == whole.budget
        assert curve(Path("whole")) == curve(Path("runs"))
        assert weights(Path("whole")) == weights(Path("runs"))


@pytest.mark.parametrize(
    ("changes", "steps", "words"),
    [
        ([], 30, "30 steps"),
        (["train.max_steps=12"], 12, "12 steps (train.max_steps; 3 epochs would be 30)"),
        (["train.max_steps=99"], 30, "30 steps (3 epochs; train.max_steps=99 is not reached)"),
    ],
)
def test_what_ends_training_is_said(workspace: Path, changes: list[str], steps: int, words: str) -> None:
    assert length_in_words(load_config("tiny.yaml", changes), Length(steps, 10, 10)) == words


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ((), "all embeddings are finite"),
        ((1,), "the embeddings of images 71 are not finite"),
        ((0, 2), "the embeddings of images 70, 72 are not finite"),
        (range(6), "the embeddings of images 70, 71, 72, 73, 74 and 1 more are not finite"),
        (range(8), "no embedding is finite"),
    ],
)
def test_images_whose_embeddings_are_not_finite_are_named(wrong: tuple[int, ...], said: str) -> None:
    faces = FaceSet(np.zeros((80, 3, 16, 16), np.uint8), np.zeros(80, np.int64), ("A",))
    embeddings = torch.ones(8, 4)
    embeddings[list(wrong), 2] = torch.nan
    assert not_finite_rows(faces, np.arange(70, 78), embeddings) == said


def test_images_with_names_are_called_by_them() -> None:
    names = tuple(f"A/A_{number:04d}" for number in range(3))
    faces = FaceSet(np.zeros((3, 3, 16, 16), np.uint8), np.zeros(3, np.int64), ("A",), names)
    embeddings = torch.tensor([[1.0], [torch.inf]])
    said = not_finite_rows(faces, np.array([0, 2]), embeddings)
    assert said == "the embeddings of images A/A_0002 are not finite"
