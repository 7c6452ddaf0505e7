"""A step with some of the classes equals one of a loss that has no others, and only they get a gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from losses import LOSSES, Loss
from losses.contract import LossContract
from losses.sampling import rows_of, sample_classes

HEADS = (
    "softmax",
    "norm_softmax",
    "cosface",
    "arcface",
    "combined_margin",
    "sphereface",
    "adaface",
    "center",
)
LABELS = torch.tensor([7, 2, 31, 7, 18])
CLASSES = 40


def made(name: str, **options: Any) -> tuple[Loss, Tensor]:
    torch.manual_seed(4)
    loss = LOSSES.build(name, {"embedding_dim": 6, "num_classes": CLASSES}, options).double()
    return loss, torch.randn(len(LABELS), 6, dtype=torch.float64) * 2


def table_names(loss: Loss) -> list[str]:
    return [name for name, parameter in loss.named_parameters() if len(parameter) == CLASSES]


class TestSample:
    def test_holds_the_classes_of_the_batch_and_is_filled_up_to_its_share(self) -> None:
        for rate, size in ((0.1, 4), (0.29, 11), (0.5, 20), (0.999, 39), (0.01, 4)):
            chosen = sample_classes(LABELS, CLASSES, rate)
            assert len(chosen) == size
            assert chosen.tolist() == sorted(set(chosen.tolist()))
            assert set(LABELS.tolist()) <= set(chosen.tolist()) <= set(range(CLASSES))

    def test_rates_are_not_cut_by_rounding(self) -> None:
        assert len(sample_classes(torch.tensor([0]), 100, 0.29)) == 29  # 0.29 * 100 = 28.999999999999996

    def test_every_other_class_is_equally_likely(self) -> None:
        torch.manual_seed(0)
        counts = torch.zeros(CLASSES)
        for _ in range(2000):
            counts[sample_classes(LABELS, CLASSES, 0.5)] += 1
        present = LABELS.unique()
        assert (counts[present] == 2000).all()
        others = torch.ones(CLASSES, dtype=torch.bool).index_fill(0, present, False)
        # 16 of 36: standard deviation sqrt(2000 * 16/36 * 20/36) = 22
        torch.testing.assert_close(counts[others], torch.full((36,), 2000 * 16 / 36), rtol=0, atol=110)

    def test_follows_from_the_seed(self) -> None:
        samples = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            samples.append(sample_classes(LABELS, CLASSES, 0.5))
        assert torch.equal(samples[0], samples[1])
        assert not torch.equal(samples[0], samples[2])


@pytest.mark.parametrize("shape", [(9, 3), (9,)])
def test_rows_get_the_gradient_that_indexing_gives_them_and_no_other_is_held(shape: tuple[int, ...]) -> None:
    table = nn.Parameter(torch.randn(shape))
    rows = torch.tensor([0, 4, 5])
    (expected,) = torch.autograd.grad(table[rows].pow(3).sum(), table)
    rows_of(table, rows).pow(3).sum().backward()  # type: ignore[no-untyped-call]
    assert table.grad is not None and table.grad.is_sparse
    assert table.grad._values().shape == (3, *shape[1:])
    assert torch.equal(table.grad.to_dense(), expected)


@pytest.mark.parametrize("name", HEADS)
def test_a_sampled_step_is_that_of_a_loss_without_the_other_classes(name: str) -> None:
    options: dict[str, Any] = {"label_smoothing": 0.1} if name in ("softmax", "center") else {}
    loss, embeddings = made(name, sample_rate=0.3, **options)
    torch.manual_seed(8)
    chosen = sample_classes(LABELS, CLASSES, 0.3)
    assert len(chosen) == 12
    few = LOSSES.build(name, {"embedding_dim": 6, "num_classes": 12}, options).double()
    state = loss.state_dict()
    few.load_state_dict({key: value[chosen] if len(value.shape) and len(value) == CLASSES else value
                         for key, value in state.items()})  # fmt: skip
    inputs = [embeddings.clone().requires_grad_() for _ in range(2)]
    torch.manual_seed(8)
    output = loss(inputs[0], LABELS)
    expected = few(inputs[1], torch.searchsorted(chosen, LABELS))
    output.total.backward()
    expected.total.backward()
    torch.testing.assert_close(output.total, expected.total)
    assert output.monitors.keys() == expected.monitors.keys()
    for monitor, value in output.monitors.items():
        torch.testing.assert_close(value, expected.monitors[monitor], equal_nan=True)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    assert table_names(loss)
    for table in table_names(loss):
        gradient = loss.get_parameter(table).grad
        assert gradient is not None and gradient.is_sparse
        assert gradient.coalesce().indices()[0].tolist() == chosen.tolist()
        torch.testing.assert_close(gradient.coalesce().values(), few.get_parameter(table).grad)


@pytest.mark.parametrize("name", HEADS)
def test_a_rate_of_one_is_no_sampling_and_draws_nothing(name: str) -> None:
    totals, gradients, generators = [], [], []
    for options in ({}, {"sample_rate": 1.0}):
        loss, embeddings = made(name, **options)
        embeddings.requires_grad_()
        torch.manual_seed(8)
        total = loss(embeddings, LABELS).total
        totals.append(total.detach())
        gradients.append(torch.autograd.grad(total, [embeddings, *loss.parameters()]))
        generators.append(torch.get_rng_state())
    assert torch.equal(*totals) and torch.equal(*generators)
    for first, second in zip(*gradients, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("name", HEADS)
def test_in_evaluation_mode_all_classes_take_part(name: str) -> None:
    sampled, embeddings = made(name, sample_rate=0.2)
    whole, _ = made(name)
    assert torch.equal(sampled.eval()(embeddings, LABELS).total, whole.eval()(embeddings, LABELS).total)


def test_a_rate_that_is_no_share_is_refused() -> None:
    for wrong in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"sample_rate must be a number > 0 and <= 1, but got {wrong}"):
            LOSSES.build("cosface", {"embedding_dim": 4, "num_classes": 5}, {"sample_rate": wrong})


class Sampled(LossContract):
    is_random = True
    num_classes = 10

    def make_named(self, name: str) -> Loss:
        engine = {"embedding_dim": self.embedding_dim, "num_classes": self.num_classes}
        return LOSSES.build(name, engine, {"sample_rate": 0.6})


class TestSampledSoftmax(Sampled):
    def make(self) -> Loss:
        return self.make_named("softmax")


class TestSampledArcFace(Sampled):
    def make(self) -> Loss:
        return self.make_named("arcface")
