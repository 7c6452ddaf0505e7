"""How time grows with the size of things: people, pairs, images, batches, runs. Asserts no time.

Each race says its size; the page fits time = a * size^b over a table's rows and says b.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from losses import CenterTerm, CosFace, Triplet

from .conftest import Race


@pytest.mark.parametrize("classes", [1_000, 10_000, 100_000, 1_000_000])
def test_identities_of_the_center_term(race: Race, classes: int) -> None:
    term = CenterTerm(128, classes)
    embeddings = torch.randn(256, 128, requires_grad=True)
    labels = torch.randint(0, classes, (256,))
    race(
        "Scale: identities, center term of 256 embeddings of 128 numbers",
        f"{classes:,} identities",
        ours=lambda: gradient_of(term, embeddings, labels),
        size=classes,
        large=classes > 10_000,
    )


@pytest.mark.parametrize("classes", [1_000, 10_000, 100_000, 1_000_000])
def test_identities_of_a_classifier(race: Race, classes: int) -> None:
    """Every embedding meets every class: no way around a product of 32 x 128 with 128 x C."""
    head = CosFace(128, classes)
    embeddings = torch.randn(32, 128, requires_grad=True)
    labels = torch.randint(0, classes, (32,))

    def once() -> Tensor:
        head.zero_grad(set_to_none=True)
        head(embeddings, labels).total.backward()
        return embeddings

    race(
        "Scale: identities, CosFace of 32 embeddings of 128 numbers",
        f"{classes:,} identities",
        ours=once,
        size=classes,
        large=classes > 10_000,
    )


@pytest.mark.parametrize("num_pairs", [6_000, 60_000, 600_000, 10_000_000])
def test_pairs(race: Race, num_pairs: int) -> None:
    from bench.verification import verify

    generator = np.random.default_rng(0)
    fold, same = np.arange(num_pairs) * 10 // num_pairs, np.arange(num_pairs) % 2 == 0
    distances = np.where(same, 0.7, 1.4) + 0.3 * generator.standard_normal(num_pairs)
    distances = distances.clip(0.0, 4.0)
    race(
        "Scale: pairs, the 10-fold protocol on their distances",
        f"{num_pairs:,} pairs",
        ours=lambda: verify(distances, same, fold),
        size=num_pairs,
        large=num_pairs > 60_000,
    )


@pytest.mark.parametrize("images", [10_000, 100_000, 1_000_000, 10_000_000])
def test_images_in_the_index(race: Race, images: int, tmp_path: Path) -> None:
    """A pack is opened and a batch of 128 drawn."""
    from PIL import Image

    from bench.data.opened import open_packed
    from bench.data.packing import pack_images

    from .test_data_speed import grow

    small = tmp_path / "faces" / "person"
    small.mkdir(parents=True)
    Image.new("RGB", (16, 16), "grey").save(small / "a.png")
    pack_images(tmp_path / "faces", tmp_path / "pack", "pixels", 16, workers=1)
    grow(tmp_path / "pack", images)
    rows = np.random.default_rng(0).integers(0, images, 128)
    race(
        "Scale: images in the index, opening it and drawing a batch",
        f"{images:,} images",
        ours=lambda: len(open_packed(tmp_path / "pack", "data.root", size_px=None).images[rows]),
        size=images,
        large=images > 10_000,
    )


@pytest.mark.parametrize("num", [90, 512, 1800, 4096])
@pytest.mark.parametrize("mining", ["hard", "semi_hard"])
def test_batch(race: Race, mining: Any, num: int) -> None:
    """Two images a person, so that nothing but the size of the batch changes."""
    loss = Triplet(mining=mining)
    embeddings = torch.randn(num, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(num) // 2
    race(
        f"Scale: images in a batch, triplet {mining} with monitors",
        f"{num:,} images",
        ours=lambda: gradient_of(loss, embeddings, labels),
        size=num,
        large=num > 512,
    )


@pytest.mark.parametrize("count", [10, 100, 1_000, 10_000])
def test_runs_in_the_store(race: Race, count: int, tmp_path: Path, benchmark: Any) -> None:
    """Records alone, of five configurations; test pairs add what they take to read."""
    from reports.records import read_runs
    from reports.report import Wishes, make_report

    if benchmark.enabled:  # else the race is left out
        write_runs(tmp_path / "runs", count, tmp_path)
    race(
        "Scale: runs in the store, bench report",
        f"{count:,} runs",
        ours=lambda: len(make_report(read_runs((tmp_path / "runs",)), Wishes()).records),
        size=count,
        large=True,
    )


def gradient_of(loss: Any, embeddings: Tensor, labels: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss(embeddings, labels).total, embeddings)
    return gradient


def write_runs(folder: Path, count: int, scratch: Path) -> None:
    """The record of one small run, under other names and seeds."""
    from bench import load_config, run

    small = "data.identities=16 data.images_per_identity=8 data.test_pairs=4 data.validation_pairs=3"
    batch = "batch.size=16 train.max_steps=1 tracking.enabled=false"
    overrides = [*small.split(), *batch.split(), f"runtime.runs={scratch / 'one'}"]
    record = run(load_config("softmax", overrides)).model_dump(mode="json")
    for number in range(count):
        name, seed = f"loss{number % 5}", number // 5
        changed = {
            "name": name,
            "seed": seed,
            "config_hash": f"{number % 5:064x}",
            "config": {**record["config"], "name": name, "seed": seed},
        }
        own = folder / f"{name}-s{seed}"
        own.mkdir(parents=True)
        (own / "record.json").write_text(json.dumps({**record, **changed}))
