"""Every loss teaches: a small network tells apart people whom it never saw."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from losses import LOSSES, MINERS

NUM_TRAINED, NUM_NEW, DIM = 20, 10, 8


def people(num: int, images: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (N, 24): eight numbers that tell who it is, scrambled with sixteen loud ones that do not."""
    identities = torch.randn(num, 8, generator=generator)
    labels = torch.arange(num).repeat_interleave(images)
    noise = 3.0 * torch.randn(len(labels), 16, generator=generator)
    signal = identities[labels] + 0.3 * torch.randn(len(labels), 8, generator=generator)
    mixing = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(9))).Q
    return torch.cat([signal, noise], 1) @ mixing, labels


def right_order_share(embeddings: Tensor, labels: Tensor) -> float:
    """Share of genuine-impostor comparisons in the right order: area under the ROC curve."""
    unit = nn.functional.normalize(embeddings)
    distances = torch.cdist(unit, unit)
    same = labels[:, None] == labels[None, :]
    upper = torch.ones_like(same).triu(1)
    genuine, impostor = distances[same & upper], distances[~same & upper]
    return (genuine[:, None] < impostor[None, :]).double().mean().item()


def as_triplets(images: Tensor) -> Tensor:
    """(P, K) -> rows anchor, positive, negative, anchor, ...: every pair of a person, and one of another."""
    left, right = torch.triu_indices(images.shape[1], images.shape[1], 1)
    others = torch.stack([images.roll(shift, 0)[:, 0] for shift in range(1, len(left) + 1)], 1)
    return torch.stack([images[:, left], images[:, right], others], 2).flatten()


COLLAPSING = ("center_term", "prelogits_norm")  # terms, which another loss has to hold open
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in LOSSES.names() if name not in (*COLLAPSING, "triplet")),
    *(("triplet", {"mining": mining}) for mining in MINERS.names()),
    ("triplet", {"mining": "hard", "margin": "soft", "squared": False}),
    ("center", {"convention": "paper", "factor": 0.1, "alfa": 0.5}),
]


@pytest.mark.parametrize(
    ("name", "options"), CASES, ids=["-".join([name, *map(str, options.values())]) for name, options in CASES]
)
def test_every_loss_teaches_to_tell_new_people_apart(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    images, labels = people(NUM_TRAINED, 12, generator)
    new_images, new_labels = people(NUM_NEW, 6, generator)
    network = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, DIM), nn.BatchNorm1d(DIM))
    loss = LOSSES.build(name, {"embedding_dim": DIM, "num_classes": NUM_TRAINED}, options)
    parameters = [*network.parameters(), *loss.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    before = right_order_share(network.eval()(new_images).detach(), new_labels)
    for step in range(150):
        loss.set_progress(step / 50)
        people_now = torch.randperm(NUM_TRAINED)[:12]
        chosen = (people_now[:, None] * 12 + torch.randint(0, 12, (12, 4))).flatten()
        if options.get("mining") == "given":
            chosen = as_triplets(chosen.view(12, 4))
        total = loss(network.train()(images[chosen]), labels[chosen]).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    after = right_order_share(network.eval()(new_images).detach(), new_labels)
    assert before < 0.7 < 0.8 < after, f"{before:.3f} -> {after:.3f}"
