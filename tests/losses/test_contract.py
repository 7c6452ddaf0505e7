"""The contract over every registered loss, with its defaults and with each of its choices."""

from typing import Any

import pytest
import torch

from losses import LOSSES, MINERS, Choice, Loss, Term, Triplet
from losses.contract import LossContract

PAIRS = ("triplet", "contrastive", "multi_similarity", "sup_con", "info_nce", "cross_batch_memory")
RANDOM = ("random", "violating", "distance_weighted")
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "softmax": [{"bias": False, "label_smoothing": 0.1}],
    "center": [{"convention": "paper", "factor": 1.0, "alfa": 0.5}, {"centers": "learnable"}],
    "center_term": [{"convention": "paper"}, {"centers": "learnable"}],
    "prelogits_norm": [{"p": 2.0, "factor": 1.0}],
    "sphereface": [{"lambda_end": 0.0, "margin": 3}],
    "contrastive": [{"average": "all", "margin": 1.5}],
    "triplet": [
        # given has a class of its own: these batches hold no triplets
        *({"mining": mining, "alpha": 0.5} for mining in MINERS.names() if mining != "given"),
        {"mining": "all", "squared": False, "average": "all"},
        {"mining": "hard", "squared": False, "margin": "soft"},
        {"mining": "semi_hard", "squared": False, "margin": "soft"},
        {"mining": "all", "margin": "soft"},
    ],
    "cross_batch_memory": [
        {"loss": Choice(name), "size": 30}
        for name in ("contrastive", "multi_similarity", "sup_con", "info_nce")
    ],
    "sum": [{"terms": (Term(Choice("center"), weight=0.5), Term(Choice("triplet", {"mining": "all"})))}],
}
CASES = [(name, options) for name in LOSSES.names() for options in [{}, *SETTINGS.get(name, [])]]


@pytest.mark.parametrize(
    ("name", "options"), CASES, ids=[f"{name}-{number}" for number, (name, _) in enumerate(CASES)]
)
class TestEveryLoss(LossContract):
    @pytest.fixture(autouse=True)
    def _chosen(self, name: str, options: dict[str, Any]) -> None:
        self.name, self.options = name, options
        self.compares_pairs = name in PAIRS
        self.is_random = options.get("mining") in RANDOM
        self.is_smooth = name != "adaface"  # it takes the length of an embedding as constant, on purpose

    def make(self) -> Loss:
        engine = {"embedding_dim": self.embedding_dim, "num_classes": self.num_classes}
        return LOSSES.build(self.name, engine, self.options)


class TestGivenTriplets(LossContract):
    compares_pairs = True
    is_random = True  # not so, but the order of the batch says which rows belong together

    def batch(self, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
        embeddings, _ = super().batch(dtype)
        return embeddings, torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 3])

    def make(self) -> Loss:
        return Triplet(mining="given", alpha=0.5, average="all")


def test_the_settings_above_name_losses_and_options_that_exist() -> None:
    assert set(PAIRS) <= set(LOSSES.names())
    for name, settings in SETTINGS.items():
        assert all(set(options) <= set(LOSSES.options(name)) for options in settings)
