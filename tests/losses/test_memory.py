"""Cross-batch memory against the same comparison with earlier batches joined by hand."""

import pytest
import torch
from torch import Tensor

from losses import Choice, CrossBatchMemory, Triplet
from losses.distances import normalize


def batches(count: int, size: int = 6) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(size) // 2
    return [
        (torch.randn(size, 4, generator=generator, dtype=torch.float64), (labels + step) % 4)
        for step in range(count)
    ]


def memory(size: int, **options: object) -> CrossBatchMemory:
    choice = Choice("triplet", {"mining": "all", "average": "all"})
    return CrossBatchMemory(4, 4, loss=choice, size=size, **options).double()  # type: ignore[arg-type]


def test_memory_equals_joined_batches() -> None:
    loss, plain = memory(100), Triplet(mining="all", average="all")
    earlier: list[tuple[Tensor, Tensor]] = []
    for embeddings, labels in batches(4):
        ours, theirs = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
        unit = normalize(theirs)
        references = torch.cat([unit, *(normalize(x) for x, _ in earlier)])
        others = torch.cat([labels, *(y for _, y in earlier)])
        expected = plain.against(unit, labels, references, others).total
        total = loss(ours, labels).total
        torch.testing.assert_close(total, expected)
        torch.testing.assert_close(torch.autograd.grad(total, ours), torch.autograd.grad(expected, theirs))
        earlier.append((embeddings, labels))


@pytest.mark.parametrize("mining", ["hard", "semi_hard", "all"])
def test_triplets_among_references_equal_autograd_through_differences(mining: str) -> None:
    """The anchors' gradient when most references are constants, for each way through the code."""
    (embeddings, labels), (older, old_labels) = batches(2)
    anchors = normalize(embeddings).requires_grad_()
    references = torch.cat([anchors, normalize(older).repeat(3, 1) + 0.01 * torch.randn(18, 4).double()])
    others = torch.cat([labels, old_labels.repeat(3)])
    total = Triplet(mining=mining, alpha=0.5).against(anchors, labels, references, others).total
    (gradient,) = torch.autograd.grad(total, anchors)
    step = 1e-6 * torch.randn_like(anchors)
    moved = anchors.detach() + step
    shifted = Triplet(mining=mining, alpha=0.5).against(
        moved, labels, torch.cat([moved, references[6:].detach()]), others
    )
    assert (gradient * step).sum().item() == pytest.approx((shifted.total - total).item(), rel=1e-3)


def test_the_oldest_leave_first() -> None:
    loss = memory(8)
    drawn = batches(3)
    for embeddings, labels in drawn:
        loss(embeddings, labels)
    everything = torch.cat([normalize(x) for x, _ in drawn])[-8:]
    kept = {tuple(row) for row in loss.embeddings.tolist()}
    assert kept == {tuple(row) for row in everything.tolist()}
    assert sorted(loss.labels.tolist()) == sorted(torch.cat([y for _, y in drawn])[-8:].tolist())


def test_a_batch_larger_than_the_memory_leaves_its_last_images() -> None:
    loss = memory(4)
    (embeddings, labels) = batches(1)[0]
    output = loss(embeddings, labels)
    torch.testing.assert_close(loss.embeddings, normalize(embeddings)[-4:])
    assert output.monitors["memory_filled"] == 1.0


def test_before_its_epoch_the_memory_fills_and_is_not_used() -> None:
    loss, plain = memory(100, start_epoch=1.0), Triplet(mining="all", average="all")
    for embeddings, labels in batches(2):
        torch.testing.assert_close(loss(embeddings, labels).total, plain(embeddings, labels).total)
    assert loss.filled == 12
    loss.set_progress(1.0)
    embeddings, labels = batches(1)[0]
    assert not torch.isclose(loss(embeddings, labels).total, plain(embeddings, labels).total)


def test_a_loss_without_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must compare pairs .* but got 'softmax'; choose triplet,"):
        CrossBatchMemory(4, 4, loss=Choice("softmax"))
