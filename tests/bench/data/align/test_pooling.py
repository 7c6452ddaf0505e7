"""Tests of bench/data/align/pooling.py: torch's max pooling, to the last bit."""

import pytest
import torch
from torch import nn

from bench.data.align.pooling import SlicedMaxPool2d, slice_pools


@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 3), (2, 3), (3, 1)])
def test_it_equals_torch_at_every_size(kernel: int, stride: int, ceil_mode: bool) -> None:
    pool = nn.MaxPool2d(kernel, stride, ceil_mode=ceil_mode)
    generator = torch.Generator().manual_seed(0)
    for height in range(kernel, 14):
        for width in range(kernel, 14):
            inputs = torch.randn(2, 3, height, width, generator=generator) - 5.0
            assert torch.equal(SlicedMaxPool2d(pool)(inputs), pool(inputs)), (height, width)


def test_an_input_smaller_than_a_window_is_one_window() -> None:
    pool = nn.MaxPool2d(2, 2, ceil_mode=True)
    inputs = -torch.rand(1, 2, 1, 5)
    assert torch.equal(SlicedMaxPool2d(pool)(inputs), pool(inputs))


def test_what_is_not_a_number_stays_in_its_window() -> None:
    inputs = torch.zeros(1, 1, 4, 4)
    inputs[0, 0, 3, 0] = torch.nan
    pooled = SlicedMaxPool2d(nn.MaxPool2d(2, 2))(inputs)
    assert torch.equal(pooled.isnan(), torch.tensor([[[[False, False], [True, False]]]]))


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2, padding=1),
        nn.MaxPool2d(2, dilation=2),
        nn.MaxPool2d((2, 3)),
        nn.MaxPool2d(2, return_indices=True),
    ],
)
def test_other_kinds_are_refused(pool: nn.MaxPool2d) -> None:
    with pytest.raises(ValueError, match="but got MaxPool2d"):
        SlicedMaxPool2d(pool)


def test_all_pools_of_a_network_are_replaced_and_nothing_else_changes() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.PReLU()))
    inputs = torch.randn(2, 3, 12, 9)
    expected, names = network(inputs), list(network.state_dict())
    slice_pools(network)
    assert not any(isinstance(module, nn.MaxPool2d) for module in network.modules())
    assert torch.equal(network(inputs), expected)
    assert list(network.state_dict()) == names
