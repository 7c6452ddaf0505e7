"""The center loss against loops over the images of a batch, both conventions."""

import math

import pytest
import torch
from torch import Tensor

from losses import Center, CenterTerm, Softmax

LABELS = torch.tensor([2, 0, 2, 1, 2, 0, 4])  # identity 2 three times, 3 never


def drawn(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    embeddings = torch.randn(len(LABELS), 3, generator=generator, dtype=torch.float64)
    return embeddings.to(dtype), torch.randn(5, 3, generator=generator, dtype=torch.float64).to(dtype)


def loops(embeddings: Tensor, centers: Tensor, convention: str, alfa: float) -> tuple[float, Tensor]:
    """Term and new centers, one image and one dimension at a time."""
    (batch, dim), term = embeddings.shape, 0.0
    for i in range(batch):
        for k in range(dim):
            square = (embeddings[i, k].item() - centers[LABELS[i], k].item()) ** 2
            term += square / (batch * dim) if convention == "facenet" else square / (2 * batch)
    moved = centers.clone()
    for j in range(len(centers)):
        images = [i for i in range(batch) if LABELS[i] == j]
        pull = sum((centers[j] - embeddings[i] for i in images), torch.zeros(dim, dtype=centers.dtype))
        moved[j] -= (1 - alfa) * pull / (1 if convention == "facenet" else 1 + len(images))
    return term, moved


@pytest.mark.parametrize("convention", ["facenet", "paper"])
def test_center_value_and_update_equal_loops(convention: str) -> None:
    term = CenterTerm(3, 5, alfa=0.7, convention=convention).double()
    embeddings, centers = drawn()
    term.centers.copy_(centers)
    for _ in range(3):
        expected, centers = loops(embeddings, centers, convention, 0.7)
        assert term(embeddings, LABELS).total.item() == pytest.approx(expected, rel=1e-12)
        torch.testing.assert_close(term.centers, centers)
        embeddings = embeddings.flip(1)


@pytest.mark.parametrize(("convention", "scale"), [("facenet", 2 / (7 * 3)), ("paper", 1 / 7)])
def test_center_gradient_equals_formula(convention: str, scale: float) -> None:
    """2/(BD) (x - c) and 1/B (x - c), with the centers from before the update."""
    term = CenterTerm(3, 5, alfa=0.0, convention=convention).double()
    embeddings, centers = drawn()
    term.centers.copy_(centers)
    embeddings.requires_grad_()
    (gradient,) = torch.autograd.grad(term(embeddings, LABELS).total, embeddings)
    torch.testing.assert_close(gradient, scale * (embeddings.detach() - centers[LABELS]))


def test_the_two_conventions_agree_at_factor_times_half_the_dimension() -> None:
    embeddings, centers = drawn()
    totals = []
    for convention in ("facenet", "paper"):
        term = CenterTerm(3, 5, convention=convention).double().eval()
        term.centers.copy_(centers)
        totals.append(term(embeddings, LABELS).total.item())
    assert totals[0] * 3 / 2 == pytest.approx(totals[1])


def test_centers_start_at_zero_and_identities_not_seen_stay_there() -> None:
    term = CenterTerm(3, 5)
    assert not term.centers.any()
    term(drawn(torch.float32)[0], LABELS)
    assert term.centers[[0, 1, 2, 4]].any(1).all() and not term.centers[3].any()


def test_learnable_centers_move_by_the_optimiser_along_the_gradient_of_the_term() -> None:
    term = CenterTerm(3, 5, centers="learnable", convention="paper").double()
    embeddings, centers = drawn()
    with torch.no_grad():
        term.centers.copy_(centers)
    optimizer = torch.optim.SGD(term.parameters(), lr=0.5)
    term(embeddings, LABELS).total.backward()
    assert torch.equal(term.centers, centers)  # not moved by the call
    optimizer.step()
    expected = centers.clone()
    for label, embedding in zip(LABELS, embeddings, strict=True):
        expected[label] -= 0.5 * (centers[label] - embedding) / len(LABELS)
    torch.testing.assert_close(term.centers.detach(), expected)


def test_center_is_cross_entropy_plus_factor_times_term() -> None:
    embeddings, _ = drawn(torch.float32)
    loss = Center(3, 5, factor=0.3, alfa=0.5, convention="paper", label_smoothing=0.1)
    softmax, term = Softmax(3, 5, label_smoothing=0.1), CenterTerm(3, 5, alfa=0.5, convention="paper")
    softmax.load_state_dict(loss.softmax.state_dict())
    for _ in range(2):
        output = loss(embeddings, LABELS)
        cross_entropy, center = softmax(embeddings, LABELS).total, term(embeddings, LABELS).total
        torch.testing.assert_close(output.total, cross_entropy + 0.3 * center)
        torch.testing.assert_close(output.parts["cross_entropy"], cross_entropy.detach())
        torch.testing.assert_close(output.parts["center_term"], 0.3 * center.detach())
        torch.testing.assert_close(output.monitors["center_share"], (0.3 * center / output.total).detach())


def test_center_with_factor_zero_is_softmax() -> None:
    embeddings, _ = drawn(torch.float32)
    loss = Center(3, 5, factor=0.0)
    assert torch.equal(loss(embeddings, LABELS).total, loss.softmax(embeddings, LABELS).total)


def test_radius_and_distance_of_centers_equal_loops() -> None:
    term = CenterTerm(3, 5, alfa=1.0).double()
    embeddings, centers = drawn()
    term.centers.copy_(centers)
    monitors = term(embeddings, LABELS).monitors
    own = centers[LABELS]
    radii = [math.dist(x, c) for x, c in zip(embeddings.tolist(), own.tolist(), strict=True)]
    assert monitors["center_radius"].item() == pytest.approx(sum(radii) / 7)
    pairs = [(i, (i - 3) % 7) for i in range(7)]  # half a batch away
    apart = [math.dist(own[i].tolist(), own[j].tolist()) for i, j in pairs if LABELS[i] != LABELS[j]]
    assert monitors["center_distance"].item() == pytest.approx(sum(apart) / len(apart))


def test_distance_of_centers_is_not_defined_for_one_identity() -> None:
    monitors = CenterTerm(3, 5)(torch.randn(4, 3), torch.full((4,), 2)).monitors
    assert monitors["center_distance"].isnan()


def test_centers_are_saved_and_never_trained_by_default() -> None:
    loss = Center(3, 5)
    assert "term.centers" in loss.state_dict()
    assert "term.centers" not in dict(loss.named_parameters())
