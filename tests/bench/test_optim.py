import math

import pytest
import torch
from torch import nn

from bench.optim import OPTIMIZERS, SCHEDULES, parameter_groups


def test_cosine_warms_up_falls_and_ends_at_its_final_share() -> None:
    schedule = SCHEDULES.get("cosine")(0.1, 1000, 100, warmup_epochs=1.0, final=0.01)
    assert schedule(0) == pytest.approx(0.1 / 100)
    assert schedule(99) == pytest.approx(0.1)
    assert schedule(550) == pytest.approx(0.1 * (0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2))
    assert schedule(1000) == pytest.approx(0.001)
    rates = [schedule(step) for step in range(100, 1001)]
    assert rates == sorted(rates, reverse=True)


def test_constant_stays_after_its_warm_up() -> None:
    schedule = SCHEDULES.get("constant")(0.1, 100, 10, warmup_epochs=0.5)
    assert [schedule(step) for step in range(6)] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])
    assert SCHEDULES.get("constant")(0.1, 100, 10)(0) == 0.1


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
    assert abs(weight.item()) < 2.0
