"""Activation checkpointing: less memory, and nothing else is different."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench import load_config, run
from bench.backbones import BACKBONES, recompute
from bench.errors import UserError

from ..test_distributed import PLUGIN
from ..test_run import UNTRACKED, curve, weights

CHECKPOINTING = "runtime.activation_checkpointing=true"
NETWORKS: dict[str, dict[str, Any]] = {
    "small": {"dropout": 0.3},
    "ir_small": {"dropout": 0.3, "width": 8},
    "inception_resnet_v1": {"dropout": 0.3},
    "timm:resnet18": {"dropout": 0.3},
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return BACKBONES.build(name, {}, {"embedding_dim": 8, **NETWORKS[name]}).train()


class Held(TorchDispatchMode):
    """Bytes of the tensors that were made inside and are still there: counted, not asked of an allocator.

    What a backbone holds from the beginning does not count.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        own = (tensor.untyped_storage() for tensor in backbone.state_dict().values())
        self._made = {storage._cdata: (StorageWeakRef(storage), 0) for storage in own}
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        self._made = {key: entry for key, entry in self._made.items() if not entry[0].expired()}
        for storage in (tensor.untyped_storage() for tensor in tensors):
            self._made.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.peak = max(self.peak, self.bytes)
        return made

    @property
    def bytes(self) -> int:
        return sum(count for reference, count in self._made.values() if not reference.expired())


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_the_same_number_for_number_and_memory_is_less(name: str) -> None:
    images = torch.randn(16, 3, 80, 80, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain, other = network(name).double(), network(name).double()
    recompute(other)
    kept, peaks, embeddings = [], [], []
    for backbone in (plain, other):
        torch.manual_seed(2)
        with Held(backbone) as held:
            embeddings.append(backbone(images))
            kept.append(held.bytes)
            torch.manual_seed(3)  # a loss that draws does not change what dropout draws the second time
            embeddings[-1].square().sum().backward()
            peaks.append(held.peak)
    assert torch.equal(*embeddings)
    for (key, ours), theirs in zip(plain.named_parameters(), other.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.equal(ours.grad, theirs.grad), key
    assert plain.state_dict().keys() == other.state_dict().keys()
    assert kept[1] < 0.6 * kept[0]
    assert peaks[1] < 0.9 * peaks[0]  # gradients of all weights, which stay, among them


class TestInARun:
    @pytest.fixture(autouse=True)
    def _in(self, workspace: Path) -> None:
        pass

    @pytest.mark.parametrize(
        "options",
        [
            ["backbone.dropout=0.5", "train.ema_decay=0.9"],
            ["backbone.dropout=0.5", "train.micro_batch=6"],
            ["backbone={name: timm:resnet10t, embedding_dim: 16, dropout: 0.5}"],
        ],
    )
    def test_curves_weights_and_running_statistics_are_the_same(self, options: list[str]) -> None:
        short = [*UNTRACKED, "train.max_steps=4", "train.log_every=1", "train.precision=float64", *options]
        run("tiny.yaml", [*short, "runtime.runs=whole"])
        record = run("tiny.yaml", [*short, CHECKPOINTING])
        assert curve(Path("whole")) == curve(Path("runs"))
        assert weights(Path("whole")) == weights(Path("runs"))
        assert record.environment.activation_checkpointing is True

    def test_the_hash_stays(self) -> None:
        assert load_config("tiny.yaml", [CHECKPOINTING]).hash == load_config("tiny.yaml").hash

    def test_beside_the_compiler_it_is_refused(self) -> None:
        words = (
            "runtime.activation_checkpointing: torch.compile chooses itself what it computes twice; "
            "set runtime.activation_checkpointing=false, or train.compile=false"
        )
        with pytest.raises(UserError, match=f"^{re.escape(words)}$"):
            run("tiny.yaml", [*UNTRACKED, CHECKPOINTING, "train.compile=true"])
        assert not Path("runs").exists()

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("timm:selecsls42", "backbone timm:selecsls42: timm has no activation checkpointing for it"),
            ("grouped", "backbone grouped: it names no blocks in 'recomputed_modules'"),
        ],
    )
    def test_a_backbone_that_cannot_is_refused(self, workspace: Path, name: str, words: str) -> None:
        (workspace / "grouped.py").write_text(PLUGIN)
        (workspace / "other.yaml").write_text(
            f"plugins: [grouped.py]\nextends: tiny.yaml\nbackbone: {{name: {name}, embedding_dim: 16}}\n"
        )
        message = f"runtime.activation_checkpointing: {words}; set runtime.activation_checkpointing=false"
        with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
            run("other.yaml", [*UNTRACKED, CHECKPOINTING])
        assert not Path("runs").exists()
