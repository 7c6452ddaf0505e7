"""The contract over every registered loss, with its defaults and with each of its choices."""

from typing import Any

import pytest

from losses import LOSSES, MINERS, Loss
from losses.contract import LossContract

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "softmax": [{"bias": False, "label_smoothing": 0.1}],
    "center": [{"convention": "paper", "factor": 1.0, "alfa": 0.5}, {"centers": "learnable"}],
    "center_term": [{"convention": "paper"}, {"centers": "learnable"}],
    "sphereface": [{"lambda_end": 0.0, "margin": 3}],
    "triplet": [
        {"mining": mining, "squared": squared, "average": average}
        for mining in MINERS.names()
        for squared in (True, False)
        for average in ("active", "all")
    ],
}
CASES = [(name, options) for name in LOSSES.names() for options in [{}, *SETTINGS.get(name, [])]]


@pytest.mark.parametrize(
    ("name", "options"),
    CASES,
    ids=[f"{name}-{'-'.join(map(str, options.values()))}" for name, options in CASES],
)
class TestEveryLoss(LossContract):
    @pytest.fixture(autouse=True)
    def _chosen(self, name: str, options: dict[str, Any]) -> None:
        self.name, self.options = name, options
        self.compares_pairs = name == "triplet"
        self.is_smooth = name != "adaface"  # it takes the length of an embedding as constant, on purpose

    def make(self) -> Loss:
        engine = {"embedding_dim": self.embedding_dim, "num_classes": self.num_classes}
        return LOSSES.build(self.name, engine, self.options)
