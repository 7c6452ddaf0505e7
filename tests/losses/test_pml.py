"""pytorch-metric-learning's losses under our contract, with types that its signatures do not state."""

from __future__ import annotations

import importlib.util
import inspect
import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from losses import LOSSES, Choice, Loss, Sum, Term, source
from losses.contract import LossContract
from losses.families import MissingPackageError, UnknownNameError
from losses.types import Positive, PositiveInt

theirs = pytest.importorskip("pytorch_metric_learning.losses", reason="needs pytorch-metric-learning")

FAMILY = LOSSES.families()["pml"]
MEMBERS = FAMILY.members("loss", "pml")
ENGINE = {"embedding_dim": 8, "num_classes": 5}

# What our contract finds in its losses, release 2.9.0. Strict: a release that mends one fails here.
FOUND = {
    ("CircleLoss", "float64_gradient"): "its weights are detached, as the paper has them",
    ("SmoothAPLoss", "float64_gradient"): "fills a float32 tensor whatever it is given",
    ("P2SGradLoss", "parameters_get"): "normalises its weights in place, outside the graph",
    ("InstanceLoss", "order_of_the_batch"): "takes the place in the batch for a class",
    ("NPairsLoss", "order_of_the_batch"): "takes one pair of an identity, by their order",
    ("SmoothAPLoss", "order_of_the_batch"): "expects the images of an identity in a row",
    ("DynamicSoftMarginLoss", "evaluation_mode"): "moves its histogram in evaluation too",
    ("P2SGradLoss", "evaluation_mode"): "normalises its weights in evaluation too",
    ("NCALoss", "batches_without_pairs"): "is infinite where an image has no positive",
    ("HistogramLoss", "duplicates"): "reads beyond its histogram at cosine 1",
    ("TupletMarginLoss", "duplicates"): "arccos has no derivative at cosine 1",
    ("HistogramLoss", "parallel"): "reads beyond its histogram at cosine 1",
    ("DynamicSoftMarginLoss", "parallel"): "reads beyond its histogram at distance 2",
}


def made(name: str, **options: Any) -> Loss:
    return LOSSES.build(name, ENGINE, options)


@pytest.mark.filterwarnings("ignore")  # theirs: deprecated calls of numpy and scipy
@pytest.mark.parametrize("name", MEMBERS)
class TestEveryPmlLoss(LossContract):
    @pytest.fixture(autouse=True)
    def _chosen(self, name: str, request: pytest.FixtureRequest) -> None:
        self.name = name
        for (loss, test), reason in FOUND.items():
            if name == f"pml:{loss}" and test in request.node.name:
                request.applymarker(pytest.mark.xfail(strict=True, reason=reason))

    def make(self) -> Loss:
        return made(self.name)

    def batch(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        embeddings, labels = super().batch(dtype)
        # SmoothAP wants as many images of each identity
        return embeddings, torch.arange(12) // 3 if self.name == "pml:SmoothAPLoss" else labels.sort().values


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MEMBERS)
def test_every_loss_equals_its_own_call(name: str) -> None:
    """With their defaults, parameters copied; value and gradient."""
    kind = getattr(theirs, name.removeprefix("pml:"))
    given = {"num_classes": 5, "embedding_size": 8, "descriptors_dim": 8, "margin": 0.4, "Tn": 5.0}
    # their classes pass **kwargs up, so ask the whole way for what has no default
    demanded = {
        parameter.name
        for owner in kind.__mro__
        if "__init__" in vars(owner) and issubclass(owner, theirs.BaseMetricLossFunction)
        for parameter in list(inspect.signature(owner).parameters.values())
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    own = kind(
        **{option: given[option] for option in demanded if option in given and option != "mat_based_loss"}
    )
    ours = made(name)
    for parameter, copied in zip(own.parameters(), ours.parameters(), strict=True):
        parameter.data.copy_(copied.data)
    torch.manual_seed(0)
    labels = torch.arange(12) // 3
    first = torch.randn(12, 8).requires_grad_()
    second = first.detach().clone().requires_grad_()
    total, expected = ours(first, labels).total, own(second, labels).reshape(())
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(torch.autograd.grad(total, first), torch.autograd.grad(expected, second))


def test_types_follow_defaults_and_the_table() -> None:
    circle = LOSSES.options("pml:CircleLoss")
    assert circle == {"m": (float, 0.4), "gamma": (Positive, 80.0)}
    margin = LOSSES.options("pml:MarginLoss")
    assert margin["learn_beta"] == (bool, False)
    assert margin["triplets_per_anchor"] == (Literal["all"] | PositiveInt, "all")
    assert LOSSES.options("pml:SoftTripleLoss")["centers_per_class"] == (PositiveInt, 10)
    # through **kwargs: its own option, its parent's, and nothing that the engine gives
    assert list(LOSSES.options("pml:SubCenterArcFaceLoss")) == ["margin", "scale", "sub_centers"]
    assert list(LOSSES.options("pml:ProxyNCALoss")) == ["softmax_scale"]


@pytest.mark.parametrize("name", MEMBERS)
def test_no_number_of_its_signatures_is_out_of_reach(name: str) -> None:
    """A release with an option that no rule types fails here, and the table grows."""
    objects = {"distance", "reducer", "embedding_regularizer", "weight_regularizer", "weight_init_func"}
    kind = getattr(theirs, name.removeprefix("pml:"))
    parameters = inspect.signature(kind).parameters.values()
    named = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    engine = {"num_classes", "embedding_size", "descriptors_dim"}
    assert named - objects - engine <= set(LOSSES.options(name))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "pml:ArcFaceLoss",
            {"margin": 200.0},
            "margin must be a number >= 0 and <= 180 degrees, but got 200.0",
        ),
        ("pml:CosFaceLoss", {"scale": -1.0}, "scale must be a number > 0, but got -1.0"),
        (
            "pml:PNPLoss",
            {"variant": "Ia"},
            "variant must be one of Ds, Dq, Iu, Ib, O, but got 'Ia'",
        ),
        (
            "pml:HistogramLoss",
            {"n_bins": 10, "delta": 0.5},
            "delta and n_bins must satisfy the equation delta = 2/n_bins.",
        ),
    ],
)
def test_wrong_options_are_refused_in_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        made(name, **options)
    assert str(error.value) == message


def test_an_option_that_is_not_there_is_refused_in_python() -> None:
    with pytest.raises(TypeError, match=r"pml:CircleLoss takes m, gamma, but got mm"):
        made("pml:CircleLoss", mm=0.3)


def test_degrees_are_degrees() -> None:
    torch.manual_seed(0)
    embeddings, labels = torch.randn(10, 8), torch.arange(10) % 5
    degrees, radians = made("pml:ArcFaceLoss", margin=math.degrees(0.5)), made("arcface", margin=0.5)
    with torch.no_grad():
        next(degrees.parameters()).copy_(next(radians.parameters()).T)
    torch.testing.assert_close(degrees(embeddings, labels).total, radians(embeddings, labels).total)
    assert "in degrees, unlike our own losses" in (LOSSES.get("pml:ArcFaceLoss").__doc__ or "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pml:CircelLoss", "unknown loss 'pml:CircelLoss'; did you mean 'pml:CircleLoss'?"),
        ("pml:circleloss", "unknown loss 'pml:circleloss'; did you mean 'pml:CircleLoss'?"),
        (
            "pml:VICRegLoss",
            "loss 'pml:VICRegLoss' cannot be used: it takes pairs of views instead of labels",
        ),
        (
            "pml:MultipleLosses",
            "loss 'pml:MultipleLosses' cannot be used: it wraps other losses; use loss.name=sum",
        ),
    ],
)
def test_names_that_are_none(name: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        LOSSES.get(name)
    assert str(error.value) == message


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pytorch_metric_learning" else found(name)
    )
    with pytest.raises(MissingPackageError) as error:
        FAMILY.make("loss", "pml", "CircleLoss")
    assert str(error.value) == (
        "loss 'pml:...' needs the package pytorch_metric_learning; "
        "install it with: pip install 'faceloss-bench[pml]'"
    )


def test_a_batch_that_it_cannot_use_is_one_line() -> None:
    with pytest.raises(ValueError) as error:
        made("pml:SmoothAPLoss")(torch.randn(5, 8), torch.tensor([0, 0, 0, 1, 1]))
    assert str(error.value) == (
        "smooth_aploss of pytorch-metric-learning: "
        "All classes must have the same number of elements in the labels."
    )


def test_its_parameters_are_ours_to_train_and_to_save() -> None:
    loss = made("pml:ProxyAnchorLoss")
    (parameter,) = loss.parameters()
    assert parameter.shape == (5, 8)
    loss(torch.randn(10, 8), torch.arange(10) % 5).total.backward()
    assert parameter.grad is not None and parameter.grad.any()


def test_what_it_keeps_beside_its_parameters_is_saved() -> None:
    assert "module.hist_" in made("pml:DynamicSoftMarginLoss").state_dict()
    assert "module.beta" in made("pml:MarginLoss").state_dict()
    assert "module.beta" in dict(made("pml:MarginLoss", learn_beta=True).named_parameters())


def test_pair_losses_have_monitors_and_losses_with_classes_have_none() -> None:
    embeddings, labels = torch.randn(10, 8), torch.arange(10) % 5
    monitors = made("pml:CircleLoss")(embeddings, labels).monitors
    assert {"embedding_std", "effective_rank", "d_ap_p50", "d_an_p5"} <= set(monitors)
    assert not made("pml:ProxyAnchorLoss")(embeddings, labels).monitors


def test_it_may_be_a_term_of_a_sum() -> None:
    terms = (Term(Choice("softmax")), Term(Choice("pml:CircleLoss", {"gamma": 16.0}), weight=0.5))
    output = Sum(8, 5, terms=terms)(torch.randn(10, 8), torch.arange(10) % 5)
    assert set(output.parts) == {"cross_entropy", "circle_loss"}


def test_its_source_says_release_and_test() -> None:
    found = source(LOSSES.get("pml:CircleLoss"))
    assert found.paper.startswith("pytorch-metric-learning 2.") and found.paper.endswith("losses.CircleLoss")
    assert found.tests == ("test_every_loss_equals_its_own_call",)
