"""Softmax cross entropy against loops over images and classes."""

import math

import pytest
import torch
from torch import Tensor

from losses import Softmax

LABELS = torch.tensor([1, 0, 3, 1, 2])


def made(bias: bool, label_smoothing: float) -> tuple[Softmax, Tensor]:
    torch.manual_seed(3)
    loss = Softmax(6, 4, bias=bias, label_smoothing=label_smoothing).double()
    return loss, torch.randn(5, 6, dtype=torch.float64)


def probabilities(loss: Softmax, embeddings: Tensor) -> list[list[float]]:
    weight, bias = loss.classifier.weight.tolist(), loss.classifier.bias
    offsets = [0.0] * 4 if bias is None else bias.tolist()
    rows = []
    for embedding in embeddings.tolist():
        logits = [
            offset + sum(w * x for w, x in zip(row, embedding, strict=True))
            for row, offset in zip(weight, offsets, strict=True)
        ]
        powers = [math.exp(logit) for logit in logits]
        rows.append([power / sum(powers) for power in powers])
    return rows


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bias", [True, False])
def test_softmax_equals_loops(bias: bool, label_smoothing: float) -> None:
    loss, embeddings = made(bias, label_smoothing)
    expected = 0.0
    for label, row in zip(LABELS.tolist(), probabilities(loss, embeddings), strict=True):
        for j, probability in enumerate(row):
            target = label_smoothing / 4 + (1 - label_smoothing) * (j == label)
            expected -= target * math.log(probability) / len(LABELS)
    assert loss(embeddings, LABELS).total.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_softmax_gradient_equals_formula(label_smoothing: float) -> None:
    """dL/dx_i = 1/B sum_j (p_j - t_j) W_j."""
    loss, embeddings = made(True, label_smoothing)
    chances = torch.tensor(probabilities(loss, embeddings), dtype=torch.float64)
    targets = torch.full_like(chances, label_smoothing / 4)
    targets[range(5), LABELS] += 1 - label_smoothing
    expected = (chances - targets) @ loss.classifier.weight.detach() / 5
    embeddings.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(embeddings, LABELS).total, embeddings)
    torch.testing.assert_close(gradient, expected)


def test_accuracy_is_the_share_of_largest_logits() -> None:
    loss, embeddings = made(True, 0.0)
    rows = probabilities(loss, embeddings)
    hits = [max(range(4), key=row.__getitem__) == label for row, label in zip(rows, LABELS, strict=True)]
    assert loss(embeddings, LABELS).monitors["train_accuracy"].item() == pytest.approx(sum(hits) / 5)
