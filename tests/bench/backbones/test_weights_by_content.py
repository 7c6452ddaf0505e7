"""Weights from a file enter a run's identity by what they are, not by where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from bench import load_config, run
from bench.errors import UserError


def weights_file(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), path)
    return path


def settings(path: Path | str) -> list[str]:
    return [f"backbone={{name: 'timm:test_resnet', embedding_dim: 16, weights: {path}}}", "train.max_steps=1"]


def test_the_hash_follows_the_content_of_the_file_and_not_its_path(workspace: Path) -> None:
    first = load_config("tiny.yaml", settings(weights_file(Path("a.pt"), 0)))
    moved = load_config("tiny.yaml", settings(Path("a.pt").rename("b.pt")))
    other = load_config("tiny.yaml", settings(weights_file(Path("b.pt"), 1)))
    assert first.hash == moved.hash
    assert other.hash != moved.hash


def test_a_configuration_that_was_resolved_insists_on_the_file_it_was_resolved_with(workspace: Path) -> None:
    config = load_config("tiny.yaml", settings(weights_file(Path("a.pt"), 0)))
    Path("resolved.yaml").write_text(config.to_yaml())
    assert load_config("resolved.yaml").hash == config.hash
    weights_file(Path("a.pt"), 1)
    with pytest.raises(UserError, match=r"^backbone: timm:test_resnet: weights: a.pt is another file than "):
        run(load_config("resolved.yaml"), track=False)
