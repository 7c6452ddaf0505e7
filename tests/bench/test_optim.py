"""Tests of bench/optim.py: every optimiser against its formula."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from bench.optim import OPTIMIZERS, load_state, parameter_groups

Vector = NDArray[np.float64]
START = np.array([0.5, -1.0, 2.0])
STEPS = 60
RATES = [0.1] * 30 + [0.02] * 30  # a drop, because conventions differ in what it does to momentum


def slope(weights: Vector, step: int) -> Vector:
    """A gradient of sizes from 1e-3 to 10, so that no epsilon is without effect."""
    return np.array([1e-3, 0.3, 10.0]) * (weights + np.sin(step + np.arange(3.0)))


def moved_by(name: str, **options: Any) -> Vector:
    """Where an optimiser of ours comes to from START, in float64."""
    weights = nn.Parameter(torch.from_numpy(START.copy()))
    optimizer = OPTIMIZERS.get(name)([{"params": [weights]}], learning_rate=RATES[0], **options)
    for step, rate in enumerate(RATES):
        optimizer.param_groups[0]["lr"] = rate
        weights.grad = torch.from_numpy(slope(weights.detach().numpy(), step))
        optimizer.step()
    return weights.detach().numpy()


def test_adagrad_is_tensorflows() -> None:
    weights, squares = START.copy(), np.full(3, 0.1)
    for step, rate in enumerate(RATES):
        gradient = slope(weights, step)
        squares += gradient**2
        weights -= rate * gradient / np.sqrt(squares)
    np.testing.assert_allclose(moved_by("adagrad"), weights, rtol=1e-7)


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_rmsprop_is_tensorflows_with_facenets_constants(decay: float) -> None:
    weights, squares, update = START.copy(), np.ones(3), np.zeros(3)
    for step, rate in enumerate(RATES):
        gradient = slope(weights, step) + decay * weights
        squares = 0.9 * squares + 0.1 * gradient**2
        update = 0.9 * update + rate * gradient / np.sqrt(squares + 1.0)
        weights -= update
    np.testing.assert_allclose(moved_by("rmsprop", weight_decay=decay), weights, rtol=1e-10)


def test_rmsprop_in_torchs_convention_adds_epsilon_to_the_root() -> None:
    weights, squares, momentum = START.copy(), np.zeros(3), np.zeros(3)
    for step, rate in enumerate(RATES):
        gradient = slope(weights, step)
        squares = 0.9 * squares + 0.1 * gradient**2
        momentum = 0.9 * momentum + gradient / (np.sqrt(squares) + 1.0)
        weights -= rate * momentum
    ours = moved_by("rmsprop", convention="torch")
    np.testing.assert_allclose(ours, weights, rtol=1e-10)
    assert np.abs(ours - moved_by("rmsprop")).max() > 0.01


@pytest.mark.parametrize("convention", ["tensorflow", "torch"])
@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
def test_adam_puts_epsilon_where_its_convention_has_it(convention: str, epsilon: float) -> None:
    weights, mean, square = START.copy(), np.zeros(3), np.zeros(3)
    for step, rate in enumerate(RATES):
        gradient = slope(weights, step) + 0.2 * weights
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        if convention == "tensorflow":
            size = rate * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
            weights -= size * mean / (np.sqrt(square) + epsilon)
        else:
            corrected = np.sqrt(square / (1 - 0.999 ** (step + 1)))
            weights -= rate / (1 - 0.9 ** (step + 1)) * mean / (corrected + epsilon)
    ours = moved_by("adam", weight_decay=0.2, epsilon=epsilon, convention=convention)
    np.testing.assert_allclose(ours, weights, rtol=1e-6)


def test_nesterov_is_tensorflows_momentum() -> None:
    weights, momentum = START.copy(), np.zeros(3)
    for step in range(STEPS):
        gradient = 0.01 * slope(weights, step)
        momentum = 0.9 * momentum + gradient
        weights -= 0.1 * gradient + 0.1 * 0.9 * momentum
    ours = nn.Parameter(torch.from_numpy(START.copy()))
    optimizer = OPTIMIZERS.get("sgd")([{"params": [ours]}], weight_decay=0.0, nesterov=True)
    for step in range(STEPS):
        ours.grad = torch.from_numpy(0.01 * slope(ours.detach().numpy(), step))
        optimizer.step()
    np.testing.assert_allclose(ours.detach().numpy(), weights, rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "options"), [("adam", {"convention": "tensorflow"}), ("rmsprop", {}), ("adagrad", {})]
)
def test_an_optimiser_continues_from_its_state(name: str, options: dict[str, Any]) -> None:
    weights = nn.Parameter(torch.ones(3))
    make = OPTIMIZERS.get(name)
    optimizer = make([{"params": [weights]}], **options)
    for _ in range(3):
        weights.grad = weights.detach() + 0.5
        optimizer.step()
    twin = nn.Parameter(weights.detach().clone())
    other = make([{"params": [twin]}], **options)
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    for each, at in ((optimizer, weights), (other, twin)):
        for _ in range(3):
            at.grad = at.detach() + 0.5
            each.step()
    assert torch.equal(weights, twin)


FUSED = ("adam", "adamw", "adagrad")


def ended_at(name: str, start: torch.Tensor, *, ordinary: bool = False) -> torch.Tensor:
    """Where a parameter that begins so, laid out in memory so, is after some steps down a crooked valley."""
    weights = nn.Parameter(start)
    optimizer = OPTIMIZERS.get(name)([{"params": [weights]}], learning_rate=0.05)
    if ordinary:
        optimizer.param_groups[0]["fused"] = False
    scale = torch.linspace(1e-3, 3.0, start.numel()).reshape(start.shape)
    for _ in range(20):
        optimizer.zero_grad()
        (scale * (weights - 1.0) ** 2).sum().backward()
        optimizer.step()
    return weights.detach()


@pytest.mark.parametrize("name", FUSED)
def test_how_weights_lie_in_memory_does_not_change_where_they_go(name: str) -> None:
    start = torch.randn(6, 5, 3, 2, generator=torch.Generator().manual_seed(0))
    expected = ended_at(name, start.clone(), ordinary=True)
    torch.testing.assert_close(ended_at(name, start.clone()), expected, rtol=1e-5, atol=1e-6)
    by_pixel = start.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ended_at(name, by_pixel), expected, rtol=1e-5, atol=1e-6)
    with_gaps = torch.zeros(6, 5, 3, 4)[..., ::2]
    with_gaps.copy_(start)
    torch.testing.assert_close(ended_at(name, with_gaps), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FUSED)
def test_a_state_of_an_optimiser_with_other_kernels_is_continued_with_its_own(name: str) -> None:
    """A checkpoint of another device, or of a version before the fused kernels."""
    twins = []
    for fused_before in (True, False):
        weights = nn.Parameter(torch.linspace(-1, 1, 30).reshape(6, 5))
        first, second = (OPTIMIZERS.get(name)([{"params": [weights]}]) for _ in range(2))
        first.param_groups[0]["fused"] = fused_before
        for optimizer in (first, second):
            if optimizer is second:
                load_state(second, deepcopy(first.state_dict()))
                assert second.param_groups[0]["fused"]
            for _ in range(3):
                weights.grad = weights.detach() + 0.5
                optimizer.step()
        twins.append(weights.detach())
    torch.testing.assert_close(*twins, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["sgd", *FUSED, "rmsprop"])
def test_a_parameter_may_join_later(name: str) -> None:
    """As frozen ones do: it goes where it would go alone."""
    early, late, alone = (nn.Parameter(torch.linspace(-1, 1, 6)) for _ in range(3))
    together = OPTIMIZERS.get(name)([{"params": [early, late]}])
    apart = OPTIMIZERS.get(name)([{"params": [alone]}])
    for step in range(6):
        for parameter in (early, late, alone) if step >= 3 else (early,):
            parameter.grad = parameter.detach() + 0.5
        together.step()
        if step >= 3:
            apart.step()
    torch.testing.assert_close(late, alone)
    assert not torch.equal(late, early)


def test_without_decay_norms_biases_and_norms_keep_their_size() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    groups = parameter_groups([model], decay_norms=False)
    optimizer = OPTIMIZERS.get("sgd")(groups, learning_rate=0.1, weight_decay=0.5, decay_norms=False)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    weight, *others = zip(before, model.parameters(), strict=True)
    torch.testing.assert_close(weight[1], weight[0] * (1 - 0.1 * 0.5))
    assert all(torch.equal(old, new) for old, new in others)


def test_with_decay_norms_everything_shrinks() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    (group,) = parameter_groups([model], decay_norms=True)
    assert len(group["params"]) == 4


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_lowers_a_parabola(name: str) -> None:
    weight = nn.Parameter(torch.tensor([[3.0]]))
    optimizer = OPTIMIZERS.get(name)([{"params": [weight]}], learning_rate=0.05, weight_decay=0.0)
    for _ in range(50):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert abs(weight.item()) < 2.5
