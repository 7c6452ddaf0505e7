"""A thread beside the computing ones divides nothing, and leaves the number of the others as it was."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from bench.threads import one_thread_beside


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_it_computes_alone_after_torch_has_set_itself_up_there() -> None:
    with one_thread_beside("beside") as pool:
        assert pool.submit(torch.get_num_threads).result() == 1
        pool.submit(torch.zeros(1_000_000).add, 1).result()
        assert pool.submit(torch.get_num_threads).result() == 1


def test_the_number_of_this_thread_and_of_later_ones_stays() -> None:
    with one_thread_beside("beside"), ThreadPoolExecutor(1) as later:
        assert torch.get_num_threads() == 3
        assert later.submit(torch.get_num_threads).result() == 3
