"""Training as `bench run` does it beside facenet-pytorch's notebook: eager, float32. Asserts no time.

The peer's loop is written anew from what its example does: a DataLoader that standardises image by image,
the network as it is built, cross entropy, Adam. It reads the same pixels from memory and trains the same
network; Inception-ResNet-v1 is that package's in both. Both compute in the same number of torch threads.
Ours augments, tracks and monitors besides. The limit is the time that the network's multiplications and
additions, counted by torch, take at the machine's peak in the precision of the row: that of a product of
matrices or of a convolution, whichever is faster (they come from different libraries).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from .conftest import THREADS, Race, Seconds, said
from .watched import Watched

MATRIX = 1024  # rows and columns of the products that find the peak
CONFIG = """\
data: {{name: rendered, identities: 16, images_per_identity: 12, size_px: {size_px}, test_pairs: 1,
       validation_pairs: 1}}
backbone: {{name: {backbone}}}
loss: {{name: softmax}}
batch: {{name: random, size: {batch}}}
optimizer: {{name: adam, learning_rate: 1e-3}}
schedule: {{name: constant}}
train: {{epochs: 1000, max_steps: {last}, log_every: {first}, precision: {precision}}}
evaluate: {{every_epochs: 1000}}
runtime: {{device: cpu, runs: {folder}/runs}}
tracking: {{uri: "sqlite:///{folder}/mlflow.db"}}
"""
NETWORKS = {  # px; the steps between which time is taken: that many are also between two logged ones
    "inception_resnet_v1": (160, 1, 4),
    "small": (64, 10, 40),
}
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


@pytest.mark.parametrize("threads", THREADS, indirect=True)
@pytest.mark.parametrize("precision", list(DTYPES))
@pytest.mark.parametrize(
    ("backbone", "batch"), [("inception_resnet_v1", 8), ("inception_resnet_v1", 16), ("small", 96)]
)
@pytest.mark.timeout(1800)
def test_training(
    race: Race,
    backbone: str,
    batch: int,
    precision: str,
    threads: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    benchmark: Any,
) -> None:
    if not benchmark.enabled:
        pytest.skip("a race of this size needs --benchmark-enable")
    from bench import load_config, run
    from bench.backbones import BACKBONES
    from bench.data import DATASETS, cache_folder

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    size_px, first, last = NETWORKS[backbone]
    file = tmp_path / "training.yaml"
    chosen = {"backbone": backbone, "size_px": size_px, "batch": batch, "precision": precision}
    file.write_text(CONFIG.format(**chosen, first=first, last=last, folder=tmp_path))
    config = load_config(file, [f"runtime.threads={threads}"])
    data = DATASETS.build(config.data.name, {"cache": cache_folder()}, config.data.options)
    everyone = np.arange(len(data.train))  # as a list of rows, so that the memory map is copied
    images = torch.from_numpy(data.train.images[everyone])
    labels = torch.from_numpy(data.train.labels[everyone])

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = BACKBONES.build(backbone, {}, {})
            with torch.no_grad():
                dim = self.backbone.eval()(torch.zeros(2, 3, size_px, size_px)).shape[1]
            self.logits = nn.Linear(dim, data.train.num_identities)

        def forward(self, images: Tensor) -> Tensor:
            return self.logits(self.backbone(images))

    network = Network().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(Standardised(images, labels), batch, shuffle=True)
    flops = flops_of_a_step(network, images[:batch], labels[:batch])
    rates: dict[str, list[float]] = {"images/s": [], "the loop's images/s": []}

    def ours() -> Seconds:
        watched = Watched()
        run(config, again=True, progress=watched, test=False)
        rates["images/s"].append(
            batch * (last - first) / (took := watched.wall_s[last] - watched.wall_s[first])
        )
        return Seconds(took)

    def notebook() -> Seconds:
        step, start = 0, 0.0
        while True:
            for pixels, wanted in loader:
                if step == first:
                    start = time.perf_counter()
                if step == last:
                    rates["the loop's images/s"].append(
                        batch * (last - first) / (took := time.perf_counter() - start)
                    )
                    return Seconds(took)
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(network(pixels), wanted)
                loss.backward()
                optimizer.step()
                step += 1

    def columns() -> dict[str, float]:
        median = {name: sorted(values)[len(values) // 2] for name, values in rates.items() if values}
        peaks = {f"{name} peak, GFLOP/s": peak_flops_per_s(dtype) / 1e9 for name, dtype in DTYPES.items()}
        return median | {"model GFLOP/s": median["images/s"] * flops / batch / 1e9} | peaks

    race(
        "Training: one step beside facenet-pytorch's loop",
        f"{backbone} at {size_px} px, batch {batch}, train.precision={precision}, {said(threads)}",
        ours=ours,
        peers={"facenet-pytorch's loop in float32": notebook},
        limit=(
            f"its FLOPs at the peak of {precision}",
            lambda: Seconds((last - first) * flops / peak_flops_per_s(DTYPES[precision])),
        ),
        per=last - first,
        columns=columns,
        large=True,
        rounds=9,
    )


class Standardised(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Image by image, as the notebook's transforms do it."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images, labels.tolist()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return (self._images[row].float() - 127.5) / 128.0, self._labels[row]


def flops_of_a_step(network: nn.Module, images: Tensor, labels: Tensor) -> int:
    """Multiplications and additions of forward and backward, by torch's count: convolutions and products."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(network(images.float()), labels).backward()
    network.zero_grad()
    return counter.get_total_flops()


def peak_flops_per_s(dtype: torch.dtype) -> float:
    """The best of a few products of square matrices, and of a few convolutions."""
    left, right = (torch.randn(MATRIX, MATRIX).to(dtype) for _ in range(2))
    images, weight = torch.randn(8, 256, 16, 16).to(dtype), torch.randn(256, 256, 3, 3).to(dtype)
    images, weight = (each.contiguous(memory_format=torch.channels_last) for each in (images, weight))
    product = 2 * MATRIX**3 / fastest_s(lambda: left @ right)
    convolution = (
        2 * 9 * 256 * images.numel() / fastest_s(lambda: nn.functional.conv2d(images, weight, padding=1))
    )
    return max(product, convolution)


def fastest_s(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def test_the_count_of_a_step_is_three_times_that_of_forward_but_for_the_first_layer() -> None:
    """8 images of 48 numbers: 48 x 16 forward and for the weights, 16 x 5 for their input, too."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.Linear(16, 5))
    flops = flops_of_a_step(network, torch.zeros(8, 3, 4, 4), torch.zeros(8, dtype=torch.int64))
    assert flops == 2 * 8 * (2 * 48 * 16 + 3 * 16 * 5)
