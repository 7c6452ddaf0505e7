"""When the collapse alarm rings."""

import pytest
import torch

from losses import LOSSES, Triplet, collapse_warning


def means(embeddings: torch.Tensor, **options: object) -> dict[str, float]:
    monitors = Triplet(**options)(embeddings, torch.arange(24) // 4).monitors  # type: ignore[arg-type]
    return {name: value.item() for name, value in monitors.items()}


@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
@pytest.mark.parametrize("margin", ["hinge", "soft"])
def test_one_point_rings_the_alarm_and_says_what_helps(mining: str, margin: str) -> None:
    torch.manual_seed(0)
    embeddings = torch.ones(24, 8) + 0.01 * torch.randn(24, 8)
    message = collapse_warning(means(embeddings, mining=mining, margin=margin))
    assert message is not None and "\n" not in message
    assert message.startswith("collapse: all images have nearly one embedding (spread 0.0")
    assert "known to help: a lower learning rate" in message


def test_exactly_one_point_leaves_no_semi_hard_pair_and_rings_too() -> None:
    message = collapse_warning(means(torch.eye(8)[:1].repeat(24, 1)))
    assert message is not None and "no pair left to learn from" in message


def test_spread_embeddings_do_not_ring_even_with_the_loss_at_the_margin() -> None:
    torch.manual_seed(0)
    monitors = means(torch.randn(24, 8), mining="hard", alpha=0.2)
    assert monitors["embedding_std"] > 0.9
    assert collapse_warning(monitors) is None
    assert collapse_warning({**monitors, "loss_to_collapse": 1.0}) is None


def test_small_spread_with_a_falling_loss_does_not_ring() -> None:
    assert collapse_warning({"embedding_std": 0.05, "loss_to_collapse": 0.5, "empty": 0.0}) is None


def test_losses_without_pairs_never_ring() -> None:
    loss = LOSSES.build("softmax", {"embedding_dim": 4, "num_classes": 6}, {})
    monitors = loss(torch.ones(24, 4), torch.arange(24) // 4).monitors
    assert collapse_warning({name: value.item() for name, value in monitors.items()}) is None
