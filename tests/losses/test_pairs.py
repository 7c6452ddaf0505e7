"""Contrastive, multi-similarity, SupCon and InfoNCE against loops over pairs in float64."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from losses import Contrastive, InfoNce, Loss, MultiSimilarity, SupCon

LABELS = torch.tensor([4, 2, 4, 9, 2, 4, 9, 1])  # 1 has one image


def drawn(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(LABELS), 3, generator=generator, dtype=torch.float64) * 2


def cosine(embeddings: Tensor, i: int, j: int) -> Tensor:
    return (embeddings[i] @ embeddings[j]) / embeddings[i].norm() / embeddings[j].norm()


def others(i: int) -> tuple[list[int], list[int]]:
    everyone = [j for j in range(len(LABELS)) if j != i]
    return [j for j in everyone if LABELS[j] == LABELS[i]], [j for j in everyone if LABELS[j] != LABELS[i]]


def pairs() -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(len(LABELS)) for j in range(i))


@pytest.mark.parametrize("average", ["active", "all"])
def test_contrastive_value_and_gradient_equal_loops(average: str) -> None:
    ours, theirs = drawn().requires_grad_(), drawn().requires_grad_()
    genuine, impostor = [], []
    for i, j in pairs():
        squared = 2 - 2 * cosine(theirs, i, j)
        if LABELS[i] == LABELS[j]:
            genuine.append(squared)
        else:
            impostor.append(torch.clamp(1.2 - squared.sqrt(), min=0.0) ** 2)
    active = sum(term.item() > 0 for term in impostor)
    assert 0 < active < len(impostor)
    count = active if average == "active" else len(impostor)
    expected = torch.stack(genuine).mean() / 2 + torch.stack(impostor).sum() / count / 2
    output = Contrastive(margin=1.2, average=average)(ours, LABELS)
    torch.testing.assert_close(output.total, expected)
    torch.testing.assert_close(torch.autograd.grad(output.total, ours), torch.autograd.grad(expected, theirs))
    assert output.monitors["active_share"].item() == pytest.approx(active / len(impostor))


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 3.0])
def test_multi_similarity_value_equals_loops(epsilon: float) -> None:
    embeddings = drawn(1)
    total, counted, complete = 0.0, 0, 0
    for i in range(len(LABELS)):
        s = {j: cosine(embeddings, i, j).item() for j in range(len(LABELS))}
        positives, negatives = others(i)
        if not positives:
            continue
        complete += 1
        mined_p = [s[p] for p in positives if s[p] < max(s[n] for n in negatives) + epsilon]
        mined_n = [s[n] for n in negatives if s[n] > min(s[p] for p in positives) - epsilon]
        if mined_p and mined_n:
            counted += 1
            total += math.log(1 + sum(math.exp(-2.5 * (x - 0.4)) for x in mined_p)) / 2.5
            total += math.log(1 + sum(math.exp(30.0 * (x - 0.4)) for x in mined_n)) / 30.0
    output = MultiSimilarity(alpha=2.5, beta=30.0, base=0.4, epsilon=epsilon)(embeddings, LABELS)
    assert output.total.item() == pytest.approx(total / len(LABELS), rel=1e-10)
    assert output.monitors["active_share"].item() == pytest.approx(counted / complete)


def test_sup_con_value_equals_loops() -> None:
    embeddings, terms = drawn(2), []
    for i in range(len(LABELS)):
        positives, negatives = others(i)
        if positives:
            below = sum(math.exp(cosine(embeddings, i, j).item() / 0.2) for j in positives + negatives)
            shares = [math.exp(cosine(embeddings, i, p).item() / 0.2) / below for p in positives]
            terms.append(-sum(map(math.log, shares)) / len(positives))
    total = SupCon(temperature=0.2)(embeddings, LABELS).total
    assert total.item() == pytest.approx(sum(terms) / len(terms), rel=1e-10)


def test_info_nce_value_equals_loops() -> None:
    embeddings, terms = drawn(3), []
    for i in range(len(LABELS)):
        positives, negatives = others(i)
        below = sum(math.exp(cosine(embeddings, i, n).item() / 0.2) for n in negatives)
        for p in positives:
            own = math.exp(cosine(embeddings, i, p).item() / 0.2)
            terms.append(-math.log(own / (own + below)))
    total = InfoNce(temperature=0.2)(embeddings, LABELS).total
    assert total.item() == pytest.approx(sum(terms) / len(terms), rel=1e-10)


def test_with_pairs_only_sup_con_is_info_nce() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    embeddings = drawn()[:6]
    torch.testing.assert_close(SupCon()(embeddings, labels).total, InfoNce()(embeddings, labels).total)


def test_closest_negatives_that_undercut_a_pair_count_as_active() -> None:
    embeddings = drawn(2) + 6 * torch.eye(3, dtype=torch.float64)[LABELS % 3]
    undercut = []
    for i in range(len(LABELS)):
        positives, negatives = others(i)
        nearest = max(cosine(embeddings, i, n).item() for n in negatives)
        undercut += [cosine(embeddings, i, p).item() < nearest for p in positives]
    for loss in (SupCon(), InfoNce()):
        share = loss(embeddings, LABELS).monitors["active_share"].item()
        assert share == pytest.approx(sum(undercut) / len(undercut))
    assert 0 < sum(undercut) < len(undercut)


@pytest.mark.parametrize(
    "loss", [Contrastive(), MultiSimilarity(), SupCon(), InfoNce()], ids=lambda loss: type(loss).__name__
)
def test_at_collapse_the_loss_has_its_value_at_collapse(loss: Loss) -> None:
    embeddings = torch.ones(8, 3, dtype=torch.float64) + 1e-6 * drawn()
    output = loss(embeddings, LABELS)
    assert output.monitors["loss_to_collapse"].item() == pytest.approx(1.0, abs=1e-4)
    apart = torch.eye(10, dtype=torch.float64)[LABELS]
    assert loss(apart, LABELS).monitors["loss_to_collapse"] < 0.5


@pytest.mark.parametrize("temperature", [1e-3, 10.0])
def test_extreme_temperatures_stay_finite(temperature: float) -> None:
    for loss in (SupCon(temperature=temperature), InfoNce(temperature=temperature)):
        embeddings = drawn().float().requires_grad_()
        loss(embeddings, LABELS).total.backward()
        assert embeddings.grad is not None and embeddings.grad.isfinite().all()
