"""What every loss refuses, the registry that names them, and a loss of one's own."""

import math

import pytest
import torch
from torch import Tensor

from losses import LOSSES, Loss, LossOutput, Softmax, Triplet
from losses.contract import LossContract
from losses.registry import Registry, UnknownNameError
from losses.types import Positive


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (
            torch.zeros(2, 3),
            torch.tensor([0.0, 1.0]),
            "labels must be int64, but got float32; use labels.long()",
        ),
        (torch.zeros(2, 3), torch.tensor([0, 5]), "labels must lie in [0, 5), but got 5"),
        (torch.zeros(2, 3), torch.tensor([-100, 1]), "labels must lie in [0, 5), but got -100"),
        (torch.zeros(2, 3), torch.tensor([0]), "labels must be (2,), one an embedding, but got (1,)"),
        (
            torch.zeros(2, 3, 1),
            torch.tensor([0, 1]),
            "embeddings must be (B, D) and floating point with B, D >= 1, but got (2, 3, 1) float32",
        ),
        (
            torch.zeros(2, 3, dtype=torch.int64),
            torch.tensor([0, 1]),
            "embeddings must be (B, D) and floating point with B, D >= 1, but got (2, 3) int64",
        ),
    ],
)
def test_a_batch_that_cannot_be_is_refused_in_one_line(
    embeddings: Tensor, labels: Tensor, message: str
) -> None:
    with pytest.raises(ValueError) as error:
        Softmax(3, 5)(embeddings, labels)
    assert str(error.value) == message


def test_pair_losses_take_any_label() -> None:
    assert Triplet()(torch.randn(4, 3), torch.tensor([-1, -1, 10**12, 10**12])).total.isfinite()


def test_float64_stays_float64_and_bfloat16_becomes_float32() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    for given, expected in ((torch.float64, torch.float64), (torch.bfloat16, torch.float32)):
        embeddings = torch.randn(4, 3).to(given)
        for name in LOSSES.names():
            loss = LOSSES.build(name, {"embedding_dim": 3, "num_classes": 2}, {})
            assert loss(embeddings, labels).total.dtype == expected


class Ring(Loss):
    """Pull the norm of every embedding towards a radius."""

    def __init__(self, *, radius: Positive = 1.0) -> None:
        super().__init__()
        self.radius = radius

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        total = (embeddings.norm(dim=1) - self.radius).square().mean()
        return LossOutput(total, {"ring": total.detach()})


class TestALossOfOnesOwn(LossContract):
    def make(self) -> Loss:
        return Ring(radius=2.0)


class TestTheContractFindsMistakes:
    """Each wrong loss fails the test that is about it."""

    def failing(self, compute: object) -> set[str]:
        wrong = type("Wrong", (Ring,), {"compute": compute})
        contract = type("Contract", (LossContract,), {"make": lambda self: wrong()})()
        failed = set()
        for name in dir(LossContract):
            if name.startswith("test_"):
                try:
                    getattr(contract, name)()
                except (AssertionError, RuntimeError):
                    failed.add(name)
        return failed

    def test_nothing_fails_for_the_right_loss(self) -> None:
        assert not self.failing(Ring.compute)

    def test_a_detached_term_fails_finite_differences(self) -> None:
        def compute(self: Ring, embeddings: Tensor, labels: Tensor) -> LossOutput:
            total = (embeddings.norm(dim=1) * embeddings.norm(dim=1).detach()).mean()
            return LossOutput(total, {"ring": total.detach()})

        assert "test_float64_gradient_equals_finite_differences" in self.failing(compute)

    def test_a_hidden_nan_fails(self) -> None:
        def compute(self: Ring, embeddings: Tensor, labels: Tensor) -> LossOutput:
            total = embeddings.nan_to_num(posinf=0.0).norm(dim=1).mean()
            return LossOutput(total, {"ring": total.detach()})

        assert "test_embeddings_that_are_not_finite_are_not_hidden" in self.failing(compute)

    def test_parts_that_do_not_add_up_fail(self) -> None:
        def compute(self: Ring, embeddings: Tensor, labels: Tensor) -> LossOutput:
            total = embeddings.square().mean()
            return LossOutput(total, {"ring": total.detach() * 2})

        assert "test_parts_are_detached_scalars_that_add_up_to_the_total" in self.failing(compute)

    def test_dependence_on_the_order_fails(self) -> None:
        def compute(self: Ring, embeddings: Tensor, labels: Tensor) -> LossOutput:
            total = embeddings[0].square().sum()
            return LossOutput(total, {"ring": total.detach()})

        assert "test_order_of_the_batch_does_not_change_the_total" in self.failing(compute)

    def test_an_infinite_gradient_between_duplicates_fails(self) -> None:
        def compute(self: Ring, embeddings: Tensor, labels: Tensor) -> LossOutput:
            total = (embeddings - embeddings.roll(1, 0)).square().sum(1).sqrt().mean()
            return LossOutput(total, {"ring": total.detach()})

        assert "test_duplicates_and_collapse_have_finite_gradients" in self.failing(compute)


def test_registry_gives_options_with_types_and_defaults() -> None:
    registry: Registry[Loss] = Registry("loss")
    registry.register(Ring)
    assert registry.options("ring") == {"radius": (Positive, 1.0)}
    assert registry.summary("ring") == "Pull the norm of every embedding towards a radius."
    assert registry.build("ring", {"embedding_dim": 3}, {"radius": 3.0}).radius == 3.0


def test_registry_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown loss 'tripplet'; did you mean 'triplet'"):
        LOSSES.get("tripplet")


def test_registry_takes_a_name_of_its_own() -> None:
    registry: Registry[Loss] = Registry("loss")
    assert registry.named("ringloss")(Ring) is Ring
    assert registry.names() == ["ringloss"] and registry.get("ringloss") is Ring


def test_registry_refuses_a_second_loss_of_the_same_name() -> None:
    registry: Registry[Loss] = Registry("loss")
    registry.named("ring")(Softmax)
    with pytest.raises(ValueError, match="loss 'ring' is already registered; choose another name"):
        registry.register(Ring)


def test_registry_refuses_an_option_without_type_or_default() -> None:
    def bare(*, radius=1.0):  # type: ignore[no-untyped-def]
        return math.nan

    with pytest.raises(TypeError, match="loss 'bare': option 'radius' needs a type and a default"):
        Registry("loss").register(bare)
