"""facenet's recipes at full size take real steps, on rendered people in small pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import load_config, run
from bench.results import RunFolder, read_metrics

# Inception-ResNet-v1 wants 75 px; a CPU does some ten such images a second.
SMALL = [
    "data={name: rendered, identities: 6, images_per_identity: 6, size_px: 84, test_pairs: 1, "
    "validation_pairs: 1}",
    "augment.crop_px=76",
    "train.max_steps=3",
    "train.log_every=1",
    "runtime.threads=1",
    "tracking.enabled=false",
]
BATCHES = {
    "softmax": ["batch.size=8"],
    "center": ["batch.size=8"],
    "triplet": ["batch.people=3", "batch.images=4", "batch.triplets=3", "batch.alpha=2"],
}


@pytest.mark.slow
@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("name", BATCHES)
def test_three_steps_of_facenets_recipe_on_rendered_people(name: str) -> None:
    record = run(f"facenet/{name}", [*SMALL, *BATCHES[name]])
    assert (record.state, record.budget.steps) == ("FINISHED", 3)
    (folder,) = Path("runs").iterdir()
    lines = [line.metrics for line in read_metrics(RunFolder(folder).metrics) if "train/loss" in line.metrics]
    assert len(lines) == 3
    # learning rates as published, in words of the recipe and not of the schedule
    assert {line["train/learning_rate"] for line in lines} == {
        {"softmax": 0.05, "center": 0.1, "triplet": 0.01}[name]
    }
    assert record.num_parameters > 20_000_000
    part = {
        "softmax": "train/prelogits_norm_term",
        "center": "train/center_term",
        "triplet": "train/active_share",
    }
    assert lines[0][part[name]] > 0
    if name == "triplet":
        assert record.budget.images == 3 * 9
        assert record.budget.images_forward_only == 12


def test_facenets_recipes_are_what_its_wiki_says() -> None:
    data = "data={name: rendered}"
    softmax, center, triplet = (
        load_config(f"facenet/{name}", [data]) for name in ("softmax", "center", "triplet")
    )
    for config in (softmax, center, triplet):
        assert config.backbone.name == "inception_resnet_v1"
        assert (config.augment.crop_px, config.train.epoch_size) == (160, 1000)
        assert config.train.batch_norm_momentum == pytest.approx(1 - 0.995)
        assert config.train.ema_decay is None
        assert config.optimizer.options["decay_norms"] is False
    dims = [config.backbone.options["embedding_dim"] for config in (softmax, center, triplet)]
    assert dims == [512, 128, 128]
    assert softmax.train.epochs == 90 and center.train.epochs == 80 and triplet.train.epochs == 500
    assert triplet.batch.options["alpha"] == triplet.loss.options["alpha"] == 0.2
    assert triplet.augment.crop == "center"


LFW_BATCHES = {
    "lfw_softmax": ["batch.size=12"],
    "lfw_center": ["batch.size=12"],
    "lfw_triplet": ["batch.people=4", "batch.images=3"],
    "lfw_triplet_facenet": ["batch.people=4", "batch.images=5", "batch.triplets=4"],
}


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("name", LFW_BATCHES)
def test_two_steps_of_the_recipes_on_real_faces_on_rendered_ones(name: str) -> None:
    overrides = [
        "data={name: rendered, identities: 12, images_per_identity: 6, size_px: 40, test_pairs: 1, "
        "validation_pairs: 1}",
        "augment.crop_px=32",
        "backbone.width=4",
        "train.max_steps=2",
        "train.precision=float32",
        "runtime.threads=1",
        "tracking.enabled=false",
    ]
    record = run(name, [*overrides, *LFW_BATCHES[name]])
    assert (record.state, record.budget.steps, record.budget.images) == ("FINISHED", 2, 24)


def test_the_recipes_on_real_faces_train_on_equally_many_images() -> None:
    images = {}
    for name in LFW_BATCHES:
        config = load_config(name)
        size = {
            "random": lambda options: options["size"],
            "pk": lambda options: options["people"] * options["images"],
            "super_batch": lambda options: 3 * options["triplets"],
        }[config.batch.name](config.batch.options)
        images[name] = config.train.epochs * (config.train.epoch_size or 0) * size
        assert config.data == load_config("lfw_softmax").data
        assert config.backbone == load_config("lfw_softmax").backbone
        assert config.augment == load_config("lfw_softmax").augment
    assert images == pytest.approx(dict.fromkeys(LFW_BATCHES, 204_800), rel=5e-3)


def test_the_scaled_triplet_recipe_trains_on_as_many_images_as_the_others() -> None:
    scaled, softmax = load_config("triplet_facenet"), load_config("softmax")
    images = scaled.train.epochs * (scaled.train.epoch_size or 0) * 3 * scaled.batch.options["triplets"]
    per_epoch = 500 * 20 // softmax.batch.options["size"]
    assert images == pytest.approx(softmax.train.epochs * per_epoch * 128, rel=1e-3)
    full = load_config("facenet/triplet", ["data={name: rendered}"])
    for option in ("people", "triplets", "alpha", "embed_mode"):
        assert scaled.batch.options[option] == full.batch.options[option]
    assert scaled.optimizer == full.optimizer
    assert scaled.loss == full.loss
