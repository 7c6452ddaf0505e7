"""Tests of losses/prelogits_norm.py."""

from __future__ import annotations

import pytest
import torch

from losses import Choice, PrelogitsNorm, Softmax, Sum, Term


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
def test_prelogits_norm_value_and_gradient_equal_loops(p: float) -> None:
    torch.manual_seed(0)
    embeddings = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    output = PrelogitsNorm(factor=0.3, p=p)(embeddings, torch.zeros(5, dtype=torch.int64))
    output.total.backward()
    assert embeddings.grad is not None
    total = 0.0
    for row, slopes in zip(embeddings.tolist(), embeddings.grad.tolist(), strict=True):
        norm = sum((abs(value) + 1e-4) ** p for value in row) ** (1 / p)
        total += 0.3 * norm / 5
        for value, slope in zip(row, slopes, strict=True):
            expected = 0.3 / 5 * ((abs(value) + 1e-4) / norm) ** (p - 1) * (1 if value > 0 else -1)
            assert slope == pytest.approx(expected, rel=1e-9)
    assert output.total.item() == pytest.approx(total, rel=1e-12)
    assert output.monitors["prelogits_norm"].item() == pytest.approx(total / 0.3, rel=1e-12)


def test_beside_softmax_it_is_facenets_regulariser() -> None:
    torch.manual_seed(0)
    embeddings, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    terms = (Term(Choice("softmax")), Term(Choice("prelogits_norm", {"factor": 0.01})))
    both = Sum(4, 3, terms=terms)
    (softmax,) = (loss for loss in both.losses if isinstance(loss, Softmax))
    expected = softmax(embeddings, labels).total + 0.01 * (embeddings.abs() + 1e-4).sum(1).mean()
    torch.testing.assert_close(both(embeddings, labels).total, expected)


def test_a_norm_of_order_below_one_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"^p must be a number >= 1, but got 0\.5$"):
        PrelogitsNorm(p=0.5)
