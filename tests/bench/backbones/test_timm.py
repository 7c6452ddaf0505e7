"""Tests of timm's networks as backbones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import load_config, run
from bench.backbones import BACKBONES
from bench.config.yaml_text import yaml_inline
from bench.engine import run_path
from bench.errors import ConfigError, UserError
from bench.trained import load_trained

from ..conftest import Bench

CPU = torch.device("cpu")
UNTRACKED = "tracking.enabled=false"


def network(name: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return BACKBONES.build(name, {}, {"embedding_dim": 24, **options})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("timm:resnet18", {}),
        ("timm:mobilenetv3_small_050", {}),  # its head is wider than its features
        ("timm:convnext_atto", {}),
        ("timm:vit_tiny_patch16_224", {"size_px": 64}),
    ],
)
def test_networks_of_every_kind_end_in_embeddings_of_the_chosen_size(
    name: str, options: dict[str, object]
) -> None:
    backbone = network(name, **options).train()
    embeddings = backbone(torch.randn(3, 3, 64, 64))
    assert embeddings.shape == (3, 24)
    embeddings.square().sum().backward()
    assert [key for key, parameter in backbone.named_parameters() if parameter.grad is None] == []


def test_the_network_sees_images_as_it_was_made_for_them() -> None:
    backbone = network("timm:resnet18")
    pixels = torch.randint(0, 256, (2, 3, 32, 32)).float()
    seen: list[torch.Tensor] = []
    backbone.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    backbone.eval()((pixels - 127.5) / 128)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(
        1, 3, 1, 1
    )  # ImageNet's, which every torchvision user knows
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    torch.testing.assert_close(seen[0], (pixels / 255 - mean) / std)


def test_a_run_with_a_network_of_timm_can_be_read_back(workspace: Path) -> None:
    backbone = "backbone={name: 'timm:mobilenetv3_small_050', embedding_dim: 16}"
    config = load_config("tiny.yaml", [UNTRACKED, backbone, "train.max_steps=1", "init.freeze=all_but_head"])
    record = run(config, track=False)
    assert record.config["backbone"] == {
        "name": "timm:mobilenetv3_small_050",
        "embedding_dim": 16,
        "dropout": 0.0,
        "size_px": None,
        "pretrained": False,
        "weights": None,
        "weights_sha256": None,
    }
    assert load_trained(run_path(config), CPU).backbone(torch.zeros(1, 3, 32, 32)).shape == (1, 16)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            {"name": "timm:resnet-18"},
            "backbone.name: unknown backbone 'timm:resnet-18'; did you mean 'timm:resnet18'? (command line)",
        ),
        (
            {"name": "timm:resnet18", "embeding_dim": 4},
            "backbone.embeding_dim: unknown key; did you mean 'embedding_dim'? (command line)",
        ),
        (
            {"name": "timm:resnet18", "dropout": 1.0},
            "backbone.dropout: must be >= 0 and < 1, got 1.0 (command line)",
        ),
    ],
)
def test_mistakes_in_the_section_are_one_line(workspace: Path, section: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config("tiny.yaml", [f"backbone={yaml_inline(section)}"])  # type: ignore[arg-type]
    assert error.value.problems == (said,)


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        (
            "{name: 'timm:vit_tiny_patch16_224'}",
            "backbone.name: timm:vit_tiny_patch16_224 does not take images of 32 px (Input height (32) "
            "doesn't match model (224).); set backbone.size_px=32 where the network takes it, data.size_px, "
            "augment.crop_px, or another backbone",
        ),
        (
            "{name: 'timm:resnet18', size_px: 32}",
            "backbone: timm:resnet18: size_px: resnet18 takes images of any size; leave it null",
        ),
        (
            "{name: 'timm:resnet18', pretrained: true, weights: x.pth}",
            "backbone: timm:resnet18: pretrained and weights exclude each other; set pretrained to false",
        ),
    ],
)
def test_what_cannot_work_is_one_line_before_anything_is_written(
    workspace: Path, backbone: str, said: str
) -> None:
    with pytest.raises(UserError) as error:
        run("tiny.yaml", [UNTRACKED, f"backbone={backbone}"])
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)
    assert not Path("runs").exists()


def test_list_says_how_to_list_them_and_lists_them(bench_command: Bench) -> None:
    ended = bench_command("list", "backbones")
    assert "timm:NAME            a network of timm: bench list backbones 'timm:*'" in ended.out.splitlines()
    names = [
        line.split()[0] for line in bench_command("list", "backbones", "timm:resnet18*").out.splitlines()
    ]
    assert {"timm:resnet18", "timm:resnet18.a1_in1k"} <= set(names)


def test_nothing_imports_timm_before_somebody_names_it() -> None:
    program = (
        "import sys\nfrom bench.config import load_config\nload_config('center')\n"
        "print([name for name in ('timm', 'facenet_pytorch', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
