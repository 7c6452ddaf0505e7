# ruff: noqa: D102  (the names of the tests are the sentences)
"""What every loss must hold to, as a test class to inherit. Needs pytest's collection and nothing of it.

from losses.contract import LossContract

class TestRing(LossContract):
    def make(self) -> Loss:
        return Ring(radius=2.0)
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from losses.loss import Loss, LossOutput


class LossContract:
    """Inherit it, say how the loss is made, and every test below runs on it.

    Attributes:
        embedding_dim: D of the embeddings that the tests draw.
        num_classes: labels are drawn from [0, C).
        is_random: the loss draws random numbers, so that the order of the batch matters.
        is_smooth: the gradient can be compared with finite differences at the drawn embeddings. False for
            losses that choose pairs from them by a rule that such a step may change.
        compares_pairs: the loss compares images with each other; where a batch gives it nothing to compare,
            its monitor `empty` is 1, its total and gradient are zero.
        bf16_tolerance: largest relative difference of the total between bfloat16 and float32 embeddings.
    """

    embedding_dim: int = 8
    num_classes: int = 5
    is_random: bool = False
    is_smooth: bool = True
    compares_pairs: bool = False
    bf16_tolerance: float = 0.05

    def make(self) -> Loss:
        """A new loss for `embedding_dim` and `num_classes`."""
        raise NotImplementedError("make() must return the loss to test")

    def batch(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Embeddings (12, D) and labels (12,): identities of one to four images."""
        torch.manual_seed(0)
        labels = torch.tensor([0, 1, 2, 0, 3, 1, 2, 0, 2, 1, 0, 2]) % self.num_classes
        embeddings = torch.randn(12, self.embedding_dim, dtype=torch.float64)
        return embeddings.to(dtype), labels

    def fresh(self) -> Loss:
        """The loss from a fixed seed, in training mode."""
        torch.manual_seed(1)
        return self.make().train()

    def call(self, loss: Loss, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """One call from a fixed seed."""
        torch.manual_seed(2)
        output = loss(embeddings, labels)
        assert isinstance(output, LossOutput), f"must return a LossOutput, but got {type(output).__name__}"
        return output

    def gradient(self, loss: Loss, embeddings: Tensor, labels: Tensor) -> tuple[LossOutput, Tensor]:
        """One call and the gradient of its total."""
        embeddings = embeddings.detach().requires_grad_()
        output = self.call(loss, embeddings, labels)
        (gradient,) = torch.autograd.grad(output.total, embeddings)
        return output, gradient

    def test_total_is_a_finite_scalar_and_its_gradient_finite_and_not_zero(self) -> None:
        embeddings, labels = self.batch()
        output, gradient = self.gradient(self.fresh(), embeddings, labels)
        assert output.total.shape == () and output.total.dtype == torch.float32
        assert output.total.isfinite(), f"total is {output.total.item()}"
        assert gradient.isfinite().all() and gradient.any()

    def test_parts_are_detached_scalars_that_add_up_to_the_total(self) -> None:
        output = self.call(self.fresh(), *self.batch())
        for name, value in {**output.parts, **output.monitors}.items():
            assert value.shape == () and not value.requires_grad, f"{name} must be a detached scalar"
        assert not set(output.parts) & set(output.monitors), "a part and a monitor share a name"
        torch.testing.assert_close(torch.stack(list(output.parts.values())).sum(), output.total.detach())

    def test_names_are_the_same_for_every_batch(self) -> None:
        embeddings, labels = self.batch()
        loss = self.fresh()
        first, second = self.call(loss, embeddings, labels), self.call(loss, embeddings[:1], labels[:1])
        assert list(first.parts) == list(second.parts)
        assert list(first.monitors) == list(second.monitors)

    def test_monitors_can_be_switched_off_and_change_nothing_else(self) -> None:
        with_monitors, without = self.fresh(), self.fresh()
        without.monitoring = False
        embeddings, labels = self.batch()
        expected, gradient = self.gradient(with_monitors, embeddings, labels)
        output, same_gradient = self.gradient(without, embeddings, labels)
        assert not output.monitors
        assert torch.equal(output.total, expected.total) and torch.equal(gradient, same_gradient)

    def test_float64_gradient_equals_finite_differences(self) -> None:
        if not self.is_smooth:
            return
        embeddings, labels = self.batch(torch.float64)
        loss = self.fresh().double()
        loss.monitoring = False

        def total(inputs: Tensor) -> Tensor:
            # a copy each time: what the loss keeps between batches must not move between two evaluations
            value = self.call(copy.deepcopy(loss), inputs, labels).total
            assert value.dtype == torch.float64, "float64 embeddings must give a float64 total"
            return value

        assert torch.autograd.gradcheck(total, (embeddings.requires_grad_(),))

    def test_parameters_get_the_gradient_of_finite_differences(self) -> None:
        embeddings, labels = self.batch(torch.float64)
        loss = self.fresh().double()
        total = self.call(copy.deepcopy(loss), embeddings, labels).total
        for name, parameter in loss.named_parameters():
            trial = copy.deepcopy(loss)
            inputs = trial.get_parameter(name)
            (gradient,) = torch.autograd.grad(self.call(trial, embeddings, labels).total, inputs)
            direction = torch.randn_like(parameter)
            step = 1e-6
            moved = copy.deepcopy(loss)
            with torch.no_grad():
                moved.get_parameter(name).add_(direction, alpha=step)
            slope = (self.call(moved, embeddings, labels).total - total) / step
            torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-3, atol=1e-5)

    def test_bfloat16_is_near_float32_and_computed_in_float32(self) -> None:
        embeddings, labels = self.batch(torch.bfloat16)
        expected = self.call(self.fresh(), embeddings.float(), labels).total
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total = self.call(self.fresh(), embeddings, labels).total
        assert torch.equal(total, expected), "bfloat16 embeddings must be computed in float32"
        exact, _ = self.batch()
        torch.testing.assert_close(
            total, self.call(self.fresh(), exact, labels).total, rtol=self.bf16_tolerance, atol=1e-2
        )

    def test_order_of_the_batch_does_not_change_the_total(self) -> None:
        if self.is_random:
            return
        embeddings, labels = self.batch(torch.float64)
        order = torch.randperm(len(labels))
        first, second = self.fresh().double(), self.fresh().double()
        for _ in range(2):  # twice: what a loss keeps between batches must not depend on the order either
            expected = self.call(first, embeddings, labels).total
            torch.testing.assert_close(self.call(second, embeddings[order], labels[order]).total, expected)

    def test_state_dict_round_trip_continues_exactly(self) -> None:
        embeddings, labels = self.batch()
        loss = self.fresh()
        for _ in range(3):
            self.call(loss, embeddings, labels)
        restored = self.make().train()
        restored.load_state_dict(copy.deepcopy(loss.state_dict()))
        for _ in range(2):
            expected = self.call(loss, embeddings, labels).total
            assert torch.equal(self.call(restored, embeddings, labels).total, expected)

    def test_evaluation_mode_keeps_the_state(self) -> None:
        loss = self.fresh()
        self.call(loss, *self.batch())
        before = copy.deepcopy(loss.state_dict())
        self.call(loss.eval(), *self.batch())
        for name, value in loss.state_dict().items():
            assert torch.equal(value, before[name]), f"{name} changed in evaluation mode"

    def test_labels_must_be_whole_numbers(self) -> None:
        embeddings, labels = self.batch()
        self._refuses(lambda loss: loss(embeddings, labels.float()), "labels must be int64")

    def test_labels_must_be_one_an_embedding(self) -> None:
        embeddings, labels = self.batch()
        self._refuses(lambda loss: loss(embeddings, labels[:-1]), "one an embedding")
        self._refuses(lambda loss: loss(embeddings, labels.unsqueeze(1)), "one an embedding")

    def test_labels_must_be_classes(self) -> None:
        if self.fresh().num_classes is None:
            return
        embeddings, labels = self.batch()
        for wrong in (-1, -100, self.num_classes):
            bad = labels.clone()
            bad[3] = wrong
            message = f"labels must lie in [0, {self.num_classes}), but got {wrong}"
            self._refuses(functools.partial(_call, embeddings, bad), message)

    def test_an_empty_batch_is_refused(self) -> None:
        embeddings, labels = self.batch()
        self._refuses(lambda loss: loss(embeddings[:0], labels[:0]), "embeddings must be (B, D)")

    def test_embeddings_that_are_not_finite_are_not_hidden(self) -> None:
        for value in (math.nan, math.inf):
            embeddings, labels = self.batch()
            embeddings[4, 2] = value
            total = self.call(self.fresh(), embeddings, labels).total
            assert not total.isfinite(), f"an embedding with {value} gave a total of {total.item()}"

    def test_batches_without_pairs_are_finite(self) -> None:
        embeddings, labels = self.batch()
        for name, few, lone in (
            ("one image", embeddings[:1], labels[:1]),
            ("one identity", embeddings, torch.zeros_like(labels)),
            ("one image an identity", embeddings[: self.num_classes], torch.arange(self.num_classes)),
        ):
            output, gradient = self.gradient(self.fresh(), few, lone)
            assert output.total.isfinite() and gradient.isfinite().all(), f"{name}: not finite"
            if self.compares_pairs:
                assert "empty" in output.monitors, "must say by `empty` when it finds nothing to compare"
                if output.monitors["empty"]:
                    assert output.total == 0.0 and not gradient.any(), f"{name}: empty, but not zero"

    def test_duplicates_and_collapse_have_finite_gradients(self) -> None:
        embeddings, labels = self.batch()
        twins = embeddings.clone()
        twins[3] = twins[0]  # one identity
        twins[1] = twins[2]  # two
        for batch in (twins, embeddings[:1].expand_as(embeddings)):
            output, gradient = self.gradient(self.fresh(), batch, labels)
            assert output.total.isfinite() and gradient.isfinite().all()

    def test_parallel_and_opposite_embeddings_have_finite_gradients(self) -> None:
        _, labels = self.batch()
        direction = torch.ones(self.embedding_dim)
        sign = torch.tensor([1.0, -1.0] * 6).unsqueeze(1)
        loss = self.fresh()
        candidates = [direction] + [
            parameter.detach()[0] for parameter in loss.parameters() if parameter.shape[1:] == direction.shape
        ]
        for candidate in candidates:  # the classifier's own directions: cosine exactly 1 and -1
            output, gradient = self.gradient(self.fresh(), sign * candidate, labels)
            assert output.total.isfinite() and gradient.isfinite().all()

    def _refuses(self, call: Callable[[Loss], object], message: str) -> None:
        try:
            call(self.fresh())
        except ValueError as error:
            assert message in str(error), f"expected {message!r} in {str(error)!r}"
            assert "\n" not in str(error), "the message must be one line"
        else:
            raise AssertionError(f"must raise ValueError({message!r})")


def _call(embeddings: Tensor, labels: Tensor, loss: Loss) -> LossOutput:
    output: LossOutput = loss(embeddings, labels)
    return output
