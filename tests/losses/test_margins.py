"""The losses on angles against loops over images and classes, and their gradients against formulas."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from losses import LOSSES, AdaFace, ArcFace, CombinedMargin, CosFace, Loss, NormSoftmax, SphereFace

LABELS = torch.tensor([1, 0, 3, 1, 2, 4])
Formula = Callable[[float], float]

# name, options -> target as a function of the angle, and its derivative by the cosine
CASES: list[tuple[str, dict[str, Any], Formula, Formula]] = [
    ("norm_softmax", {"scale": 8.0}, math.cos, lambda t: 1.0),
    ("cosface", {"scale": 8.0, "margin": 0.3}, lambda t: math.cos(t) - 0.3, lambda t: 1.0),
    (
        "arcface",
        {"scale": 8.0, "margin": 0.5},
        lambda t: math.cos(t + 0.5),
        lambda t: math.sin(t + 0.5) / math.sin(t),
    ),
    (
        "combined_margin",
        {"scale": 8.0, "angle_factor": 0.9, "angle_margin": 0.4, "cosine_margin": 0.15},
        lambda t: math.cos(0.9 * t + 0.4) - 0.15,
        lambda t: 0.9 * math.sin(0.9 * t + 0.4) / math.sin(t),
    ),
]
ids = [case[0] for case in CASES]


def made(name: str, options: dict[str, Any]) -> tuple[Loss, Tensor]:
    torch.manual_seed(4)
    loss = LOSSES.build(name, {"embedding_dim": 7, "num_classes": 5}, options).double()
    return loss, torch.randn(len(LABELS), 7, dtype=torch.float64) * 3


def angle(left: list[float], right: list[float]) -> float:
    dot = sum(a * b for a, b in zip(left, right, strict=True))
    return math.acos(dot / math.hypot(*left) / math.hypot(*right))


def loops(loss: Loss, embeddings: Tensor, scales: list[float], target: Formula) -> tuple[float, Tensor]:
    """Loss, and probabilities (B, C)."""
    weight = loss.get_parameter("weight").tolist()
    total, rows = 0.0, []
    for embedding, label, scale in zip(embeddings.tolist(), LABELS.tolist(), scales, strict=True):
        thetas = [angle(embedding, row) for row in weight]
        logits = [scale * (target(t) if j == label else math.cos(t)) for j, t in enumerate(thetas)]
        powers = [math.exp(logit) for logit in logits]
        total -= math.log(powers[label] / sum(powers)) / len(LABELS)
        rows.append([power / sum(powers) for power in powers])
    return total, torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(("name", "options", "target", "_slope"), CASES, ids=ids)
def test_margin_loss_equals_loops(
    name: str, options: dict[str, Any], target: Formula, _slope: Formula
) -> None:
    loss, embeddings = made(name, options)
    expected, _ = loops(loss, embeddings, [8.0] * 6, target)
    assert loss(embeddings, LABELS).total.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("name", "options", "target", "slope"), CASES, ids=ids)
def test_margin_gradient_equals_formula(
    name: str, options: dict[str, Any], target: Formula, slope: Formula
) -> None:
    """dL/dx = s/B sum_j (p_j - [j = y]) f'_j (w_j - cos_j x) / |x| with w and x of unit length."""
    loss, embeddings = made(name, options)
    _, chances = loops(loss, embeddings, [8.0] * 6, target)
    weight = loss.get_parameter("weight").detach()
    for normalised in (embeddings, weight):
        assert not torch.allclose(normalised.norm(dim=1), torch.ones(1, dtype=torch.float64))
    units = weight / weight.norm(dim=1, keepdim=True)
    expected = torch.zeros_like(embeddings)
    for i, label in enumerate(LABELS.tolist()):
        length = embeddings[i].norm()
        unit = embeddings[i] / length
        for j in range(5):
            cosine = units[j] @ unit
            factor = slope(math.acos(cosine.item())) if j == label else 1.0
            expected[i] += (
                8.0 / 6 * (chances[i, j] - int(j == label)) * factor * (units[j] - cosine * unit) / length
            )
    embeddings.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(embeddings, LABELS).total, embeddings)
    torch.testing.assert_close(gradient, expected)


def test_arcface_gradient_is_not_the_detached_one() -> None:
    """Widening the angle without gradient gives the same loss and another gradient."""
    loss, embeddings = made("arcface", {"scale": 8.0})
    embeddings.requires_grad_()
    total = loss(embeddings, LABELS).total
    (gradient,) = torch.autograd.grad(total, embeddings)
    unit = torch.nn.functional.normalize(embeddings)
    cosine = unit @ torch.nn.functional.normalize(loss.get_parameter("weight")).T
    own = cosine[range(6), LABELS]
    shift = (torch.cos(own.acos() + 0.5) - own).detach()
    logits = 8.0 * (cosine + shift[:, None] * torch.nn.functional.one_hot(LABELS, 5))
    detached = torch.nn.functional.cross_entropy(logits, LABELS)
    (other,) = torch.autograd.grad(detached, embeddings)
    assert detached.item() == pytest.approx(total.item(), rel=1e-12)
    assert (gradient - other).norm() > 0.03 * gradient.norm()


def test_arcface_equals_insightface_below_pi() -> None:
    """Its steps: cos(theta + m) = cos(theta) cos(m) - sqrt(1 - cos(theta)^2) sin(m), gradient included."""
    loss, embeddings = made("arcface", {"scale": 8.0})
    embeddings.requires_grad_()
    unit = torch.nn.functional.normalize(embeddings)
    cosine = unit @ torch.nn.functional.normalize(loss.get_parameter("weight")).T
    own = cosine[range(6), LABELS]
    assert (own > math.cos(math.pi - 0.5)).all()
    target = own * math.cos(0.5) - (1.0 - own**2).sqrt() * math.sin(0.5)
    logits = 8.0 * torch.where(torch.nn.functional.one_hot(LABELS, 5).bool(), target[:, None], cosine)
    expected = torch.nn.functional.cross_entropy(logits, LABELS)
    total = loss(embeddings, LABELS).total
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(
        torch.autograd.grad(total, embeddings), torch.autograd.grad(expected, embeddings)
    )


@pytest.mark.parametrize(
    "loss",
    [
        ArcFace(7, 5, margin=0.0, scale=8.0),
        CosFace(7, 5, margin=0.0, scale=8.0),
        CombinedMargin(7, 5, angle_factor=1.0, angle_margin=0.0, cosine_margin=0.0, scale=8.0),
        AdaFace(7, 5, margin=0.0, scale=8.0),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_margin_zero_is_norm_softmax(loss: Loss) -> None:
    plain, embeddings = made("norm_softmax", {"scale": 8.0})
    loss = loss.double()
    with torch.no_grad():
        loss.get_parameter("weight").copy_(plain.get_parameter("weight"))
    embeddings.requires_grad_()
    total, expected = loss(embeddings, LABELS).total, plain(embeddings, LABELS).total
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(
        torch.autograd.grad(total, embeddings), torch.autograd.grad(expected, embeddings)
    )


def test_combined_margin_holds_arcface_and_cosface() -> None:
    _, embeddings = made("arcface", {})
    for single, margins in (
        (ArcFace(7, 5, margin=0.4), {"angle_margin": 0.4, "cosine_margin": 0.0}),
        (CosFace(7, 5, margin=0.4), {"angle_margin": 0.0, "cosine_margin": 0.4}),
    ):
        combined = CombinedMargin(7, 5, angle_factor=1.0, **margins).double()
        combined.load_state_dict(single.double().state_dict())
        torch.testing.assert_close(combined(embeddings, LABELS).total, single(embeddings, LABELS).total)


@pytest.mark.parametrize("margin", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("plain_share", [0.0, 5.0])
def test_sphereface_equals_loops(margin: int, plain_share: float) -> None:
    loss, embeddings = made("sphereface", {"margin": margin, "lambda_end": plain_share})

    def target(theta: float) -> float:
        k = max(k for k in range(margin) if theta >= k * math.pi / margin)
        psi = (-1) ** k * math.cos(margin * theta) - 2 * k
        return (plain_share * math.cos(theta) + psi) / (1 + plain_share)

    expected, _ = loops(loss, embeddings, [math.hypot(*row) for row in embeddings.tolist()], target)
    assert loss(embeddings, LABELS).total.item() == pytest.approx(expected, rel=1e-10)


def test_sphereface_with_margin_one_is_softmax_with_classes_of_unit_length() -> None:
    loss, embeddings = made("sphereface", {"margin": 1, "lambda_end": 0.0})
    logits = embeddings @ torch.nn.functional.normalize(loss.get_parameter("weight")).T
    torch.testing.assert_close(
        loss(embeddings, LABELS).total, torch.nn.functional.cross_entropy(logits, LABELS)
    )


def test_sphereface_lambda_falls_to_its_end() -> None:
    loss = SphereFace(7, 5, lambda_start=1000.0, lambda_end=5.0, annealing_epochs=2.0)
    shares = []
    for epoch in (0.0, 0.5, 1.0, 2.0, 3.0):
        loss.set_progress(epoch)
        shares.append(loss.plain_share)
    # 1000 / (1 + rate e) with 5 at e = 2: rate = 99.5
    assert shares == pytest.approx([1000.0, 1000 / 50.75, 1000 / 100.5, 5.0, 5.0])


def test_sphereface_cannot_anneal_to_zero() -> None:
    with pytest.raises(ValueError, match=r"annealing needs `0 < lambda_end <= lambda_start`, but got"):
        SphereFace(7, 5, lambda_end=0.0, annealing_epochs=1.0)


def adaface_steps(
    loss: AdaFace, embeddings: Tensor, mean: Tensor, std: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The steps of the authors' head, written out; lengths without gradient."""
    lengths = embeddings.norm(dim=1).clip(0.001, 100).detach()
    mean = 0.99 * mean + 0.01 * lengths.mean()
    std = 0.99 * std + 0.01 * lengths.std()
    scaler = ((lengths - mean) / (std + 1e-3) * 0.333).clip(-1, 1)
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    cosine = unit @ (loss.weight / loss.weight.norm(dim=1, keepdim=True)).T
    one_hot = torch.nn.functional.one_hot(LABELS, 5)
    theta = (cosine.acos() + one_hot * (-0.4 * scaler)[:, None]).clip(1e-3, math.pi - 1e-3)
    logits = 64.0 * (theta.cos() - one_hot * (0.4 + 0.4 * scaler)[:, None])
    return torch.nn.functional.cross_entropy(logits, LABELS), mean, std


def test_adaface_equals_the_steps_of_the_authors_code() -> None:
    loss, embeddings = made("adaface", {})
    assert isinstance(loss, AdaFace)
    mean, std = torch.tensor(20.0, dtype=torch.float64), torch.tensor(100.0, dtype=torch.float64)
    for scale in (1.0, 9.0, 20.0):  # short, near the mean, and long beyond the clip
        inputs = (scale * embeddings).requires_grad_()
        expected, mean, std = adaface_steps(loss, inputs, mean, std)
        total = loss(inputs, LABELS).total
        torch.testing.assert_close(total, expected)
        torch.testing.assert_close(torch.autograd.grad(total, inputs), torch.autograd.grad(expected, inputs))
        torch.testing.assert_close((loss.norm_mean, loss.norm_std), (mean, std))


def test_adaface_gradient_takes_the_length_as_constant() -> None:
    loss, embeddings = made("adaface", {})
    embeddings.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(embeddings, LABELS).total, embeddings)
    along = (gradient * embeddings).sum(1)
    torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-9, rtol=0)


def test_adaface_long_embeddings_get_the_larger_margin_on_the_cosine() -> None:
    loss = AdaFace(2, 2, scale=1.0, margin=0.4).eval()
    loss.norm_mean.fill_(10.0)
    loss.norm_std.fill_(1.0)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    label = torch.tensor([0])
    totals = [loss(length * torch.tensor([[0.6, 0.8]]), label).total.item() for length in (1.0, 50.0)]
    theta = math.acos(0.6)
    for total, (angle_shift, margin) in zip(totals, [(0.4, 0.0), (-0.4, 0.8)], strict=True):
        logit = math.cos(theta + angle_shift) - margin
        assert total == pytest.approx(
            -math.log(math.exp(logit) / (math.exp(logit) + math.exp(0.8))), rel=1e-4
        )


def test_adaface_margin_does_not_turn_past_the_class() -> None:
    """A long embedding at 0.2 rad with m = 0.4: cos(0), not cos(-0.2)."""
    loss = AdaFace(2, 2, scale=1.0, margin=0.4).eval()
    loss.norm_mean.fill_(10.0)
    loss.norm_std.fill_(1.0)
    with torch.no_grad():
        loss.weight.copy_(torch.eye(2))
    embedding = 50.0 * torch.tensor([[math.cos(0.2), math.sin(0.2)]])
    logit = math.cos(0.0) - 0.8
    expected = -math.log(math.exp(logit) / (math.exp(logit) + math.exp(math.sin(0.2))))
    assert loss(embedding, torch.tensor([0])).total.item() == pytest.approx(expected, rel=1e-4)


def test_target_angle_is_the_mean_angle_to_the_own_class() -> None:
    loss, embeddings = made("arcface", {})
    rows = zip(embeddings.tolist(), LABELS.tolist(), strict=True)
    own = [angle(x, loss.get_parameter("weight")[label].tolist()) for x, label in rows]
    found = loss(embeddings, LABELS).monitors["target_angle_deg"].item()
    assert found == pytest.approx(math.degrees(sum(own) / 6))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ArcFace(7, 5, margin=28.6),
            "margin must be a number >= 0 and <= 3.14159 radians, but got 28.6; "
            "28.6 degrees are 0.4992 radians",
        ),
        (lambda: NormSoftmax(7, 5, scale=-1.0), "scale must be a number > 0, but got -1.0"),
        (lambda: CosFace(7, 5, margin=math.nan), "margin must be a number >= 0 and <= 1, but got nan"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(make: Callable[[], Loss], message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == message
