"""Only the rows of a sparse gradient move, as they would alone, whatever the optimiser."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import rows
from bench.distributed import World
from bench.optim import OPTIMIZERS
from bench.shards import Shards
from losses import Softmax
from losses.sampling import rows_of

CASES: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {"momentum": 0.0}),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.1}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adam", {"weight_decay": 0.1}),
    ("adam", {"convention": "tensorflow"}),
    ("adamw", {"weight_decay": 0.3}),
    ("adagrad", {}),
    ("rmsprop", {}),
    ("rmsprop", {"convention": "torch", "epsilon": 1e-3}),
]
STEPS = [torch.tensor(rows) for rows in ([0, 2, 5], [1, 2], [2, 5], [0, 1, 2, 3, 4, 5], [4])]


def made(name: str, options: dict[str, Any], tables: list[Tensor]) -> torch.optim.Optimizer:
    groups = [{"params": tables}]
    return OPTIMIZERS.build(name, {"groups": groups}, {"learning_rate": 0.05, **options})


def start() -> Tensor:
    torch.manual_seed(3)
    return torch.randn(6, 4, dtype=torch.float64)


def pulled(table: Tensor) -> Tensor:
    return (table - torch.arange(4, dtype=torch.float64)).pow(4).sum() / 100


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_row_that_takes_no_part_stays_bit_for_bit(name: str, options: dict[str, Any]) -> None:
    table = nn.Parameter(start())
    optimizer = made(name, options, [table])
    for index in STEPS:
        before = table.detach().clone()
        states = {key: value.clone() for key, value in optimizer.state[table].items() if _is_table(value)}
        optimizer.zero_grad()
        pulled(rows_of(table, index)).backward()  # type: ignore[no-untyped-call]
        rows.step(optimizer)
        others = torch.ones(6, dtype=torch.bool).index_fill(0, index, False)
        assert torch.equal(table[others], before[others])
        assert (table[index] != before[index]).all()
        for key, value in states.items():
            assert torch.equal(optimizer.state[table][key][others], value[others])
    assert optimizer.param_groups[0]["params"] == [table]
    assert list(optimizer.state) == [table]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_row_that_always_takes_part_moves_as_in_a_whole_table(name: str, options: dict[str, Any]) -> None:
    table, whole = nn.Parameter(start()), nn.Parameter(start())
    optimizer, expected = made(name, options, [table]), made(name, options, [whole])
    for index in STEPS[:4]:  # row 2 is in all
        optimizer.zero_grad()
        pulled(rows_of(table, index)).backward()  # type: ignore[no-untyped-call]
        rows.step(optimizer)
        expected.zero_grad()
        pulled(whole).backward()  # type: ignore[no-untyped-call]
        expected.step()
    torch.testing.assert_close(table[2], whole[2], rtol=1e-13, atol=1e-13)
    assert not torch.allclose(table[4], whole[4])


def test_adamw_takes_the_steps_of_the_formula_with_one_count_for_the_table() -> None:
    table = nn.Parameter(start())
    optimizer = made("adamw", {"weight_decay": 0.3}, [table])
    weights, means, squares = start(), torch.zeros(6, 4).double(), torch.zeros(6, 4).double()
    for count, index in enumerate(STEPS, start=1):
        optimizer.zero_grad()
        pulled(rows_of(table, index)).backward()  # type: ignore[no-untyped-call]
        rows.step(optimizer)
        for row in index.tolist():
            gradient = 4 * (weights[row] - torch.arange(4)).pow(3) / 100
            weights[row] *= 1 - 0.05 * 0.3
            means[row] = 0.9 * means[row] + 0.1 * gradient
            squares[row] = 0.999 * squares[row] + 0.001 * gradient.square()
            root = (squares[row] / (1 - 0.999**count)).sqrt() + 1e-8
            weights[row] -= 0.05 * means[row] / (1 - 0.9**count) / root
        torch.testing.assert_close(table.detach(), weights, rtol=1e-12, atol=1e-12)


def test_a_saved_optimiser_holds_all_rows_and_continues() -> None:
    table = nn.Parameter(start())
    optimizer = made("adamw", {}, [table])
    for index in STEPS:
        optimizer.zero_grad()
        pulled(rows_of(table, index)).backward()  # type: ignore[no-untyped-call]
        rows.step(optimizer)
        assert optimizer.state_dict()["state"][0]["exp_avg"].shape == (6, 4)
        restored = nn.Parameter(table.detach().clone())
        other = made("adamw", {}, [restored])
        other.load_state_dict(optimizer.state_dict())
        table, optimizer = restored, other
    straight = nn.Parameter(start())
    optimizer = made("adamw", {}, [straight])
    for index in STEPS:
        optimizer.zero_grad()
        pulled(rows_of(straight, index)).backward()  # type: ignore[no-untyped-call]
        rows.step(optimizer)
    assert torch.equal(table, straight)


def test_parameters_with_a_whole_gradient_step_as_ever() -> None:
    table, beside = nn.Parameter(start()), nn.Parameter(start())
    optimizer = made("adamw", {}, [beside, table])
    pulled(rows_of(table, STEPS[0])).backward()  # type: ignore[no-untyped-call]
    pulled(beside).backward()  # type: ignore[no-untyped-call]
    rows.step(optimizer)
    alone = nn.Parameter(start())
    expected = made("adamw", {}, [alone])
    pulled(alone).backward()  # type: ignore[no-untyped-call]
    expected.step()
    assert torch.equal(beside, alone)


def test_norm_and_clipping_of_sampled_gradients_are_those_of_whole_ones() -> None:
    torch.manual_seed(0)
    loss = Softmax(5, 30, sample_rate=0.4)
    loss(torch.randn(4, 5), torch.arange(4)).total.backward()
    parameters = list(loss.parameters())
    dense = torch.cat(
        [parameter.grad.to_dense().flatten() for parameter in parameters if parameter.grad is not None]
    )
    norm = Shards(loss, World(), wanted=None).total_norm(parameters)
    torch.testing.assert_close(norm, dense.norm())
    torch.nn.utils.clip_grads_with_norm_(parameters, 0.01, norm)
    clipped = torch.cat(
        [parameter.grad.to_dense().flatten() for parameter in parameters if parameter.grad is not None]
    )
    torch.testing.assert_close(clipped, dense * (0.01 / norm), rtol=1e-4, atol=1e-8)


def _is_table(value: object) -> bool:
    return isinstance(value, Tensor) and value.shape == (6, 4)
