"""Tests of bench/build.py: what the configuration asks for is what is built, or is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from bench import RunConfig, load_config, run
from bench.build import augmentation, build, preprocess
from bench.data import DATASETS, cache_folder, standardize
from bench.distributed import World
from bench.errors import UserError
from bench.learner import Learner
from bench.trained import load_trained

CPU = torch.device("cpu")
NORMLESS = """\
from torch import nn

from bench.backbones import BACKBONES


@BACKBONES.register
def flat() -> nn.Module:
    'One matrix.'
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8))
"""


def built(config: RunConfig) -> Learner:
    data = DATASETS.build(config.data.name, {"cache": cache_folder()}, config.data.options)
    return build(config, data, CPU)[0]


@pytest.mark.usefixtures("workspace")
class TestBatchNormMomentum:
    def test_every_layer_of_any_backbone_gets_it(self) -> None:
        learner = built(load_config("tiny.yaml", ["train.batch_norm_momentum=0.005"]))
        momenta = [
            module.momentum
            for module in learner.backbone.modules()
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        ]
        assert len(momenta) > 5
        assert set(momenta) == {0.005}

    def test_it_is_facenets_decay_of_the_running_mean(self) -> None:
        learner = built(load_config("tiny.yaml", ["train.batch_norm_momentum=0.005"]))
        images = torch.randn(8, 3, 32, 32)
        stem = learner.backbone.stem
        assert isinstance(stem, nn.Sequential)
        convolution, norm = stem[0], stem[1]
        mean = convolution(images).mean((0, 2, 3))
        learner.backbone(images)
        torch.testing.assert_close(norm.running_mean, 0.995 * torch.zeros(4) + 0.005 * mean)

    def test_a_backbone_without_any_is_named(self) -> None:
        Path("flat.py").write_text(NORMLESS)
        overrides = ["plugins=[flat.py]", "backbone={name: flat}", "train.batch_norm_momentum=0.01"]
        with pytest.raises(
            UserError, match=r"^train\.batch_norm_momentum: backbone flat has no batch normalisation$"
        ):
            run("tiny.yaml", overrides)


@pytest.mark.usefixtures("workspace")
def test_a_schedule_that_contradicts_the_optimiser_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"^schedule: steps: rates begins with 0\.1, but optimizer"):
        run("tiny.yaml", ["schedule={name: steps, rates: {0: 0.1, 2: 0.01}}"])
    assert not Path("runs").exists()


@pytest.mark.usefixtures("workspace")
class TestCrop:
    def test_the_backbone_is_fed_crops_in_training_and_evaluation(self) -> None:
        plugin = NORMLESS.replace("flat()", "flat_24()").replace(
            "3 * 32 * 32", "3 * 24 * 24"
        )  # takes 24 px and nothing else
        Path("flat_24.py").write_text(plugin)
        overrides = ["plugins=[flat_24.py]", "backbone={name: flat_24}", "augment.crop_px=24"]
        record = run("tiny.yaml", [*overrides, "tracking.enabled=false"])
        assert record.state == "FINISHED"
        (folder,) = Path("runs").iterdir()
        assert load_trained(folder, CPU).preprocess.crop_px == 24

    def test_training_takes_the_middle_where_it_is_told_to(self) -> None:
        images = torch.randint(0, 256, (4, 3, 32, 32)).to(torch.uint8)
        middle = images[..., 4:28, 4:28].float()
        for crop, is_middle in (("center", True), ("random", False)):
            config = load_config(
                "tiny.yaml", ["augment={flip: false, shift_px: 0, crop_px: 24}", f"augment.crop={crop}"]
            )
            fed = preprocess(config)(augmentation(config)(images, 0, 4))
            assert torch.equal(fed, standardize(middle, "fixed")) == is_middle

    def test_a_crop_larger_than_the_images_is_refused_in_words(self) -> None:
        message = (
            r"^augment\.crop_px: 40 px cannot be cut out of images of 32 px; set data\.size_px=40 or more, "
            r"or augment\.crop_px=32 or less$"
        )
        with pytest.raises(UserError, match=message):
            run("tiny.yaml", ["augment.crop_px=40"])
        assert not Path("runs").exists()


@pytest.mark.usefixtures("workspace")
class TestGivenTriplets:
    def test_a_loss_that_reads_given_triplets_needs_batches_that_hold_some(self) -> None:
        message = (
            r"^loss\.mining: given reads anchor, positive and negative from three rows each, which batch "
            r"random does not hold; set batch\.name=super_batch, or another loss\.mining$"
        )
        term = "{loss: {name: triplet, mining: given}}"
        for loss in ("{name: triplet, mining: given}", f"{{name: sum, terms: [{term}]}}"):
            with pytest.raises(UserError, match=message):
                run("tiny.yaml", [f"loss={loss}"])
        assert not Path("runs").exists()

    def test_several_processes_cannot_share_a_batch_that_shrinks(self) -> None:
        overrides = ["batch={name: super_batch, people: 4, images: 5, triplets: 6}"]
        config = load_config("tiny.yaml", overrides)
        data = DATASETS.build(config.data.name, {"cache": cache_folder()}, config.data.options)
        message = (
            r"^batch: the last batch of a super-batch is smaller and does not divide among 2 processes; "
            r"train in one, or choose another batch\.name$"
        )
        with pytest.raises(UserError, match=message):
            build(config, data, CPU, World(size=2))
