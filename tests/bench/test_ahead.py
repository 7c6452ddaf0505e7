"""Reading ahead changes when a batch is prepared, and nothing else."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.ahead import Ahead, Ready
from bench.data import Batch
from bench.data.batches import PK, Balanced, Counted, Random
from bench.errors import BenchError

LABELS = np.repeat(np.arange(10), 6)


def embed(indices: NDArray[np.int64], **_: object) -> torch.Tensor:
    raise AssertionError("nothing is selected by distance here")


class Prepared:
    """Remembers which batches were prepared, by which thread, and tells when."""

    def __init__(self, *, broken: int | None = None) -> None:
        self.threads: dict[int, str] = {}
        self.done = {number: threading.Event() for number in range(9)}
        self._broken = broken

    def __call__(self, batch: Batch, place: torch.Tensor | None) -> Ready:
        self.threads[batch.number] = threading.current_thread().name
        self.done[batch.number].set()
        if batch.number == self._broken:
            raise BenchError(f"image of batch {batch.number} is damaged")
        images = torch.zeros(1) if place is None else place
        return Ready(batch, images.fill_(batch.number), torch.zeros(1))


class ByWeights:
    """Counts when it was asked; is not `Counted`."""

    size = 3

    def __init__(self) -> None:
        self.asked = 0

    def next(self, embed: object) -> Batch:
        self.asked += 1
        return Batch(self.asked - 1, np.arange(3))

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        raise NotImplementedError


def test_the_next_batch_is_prepared_by_another_thread_before_it_is_asked_for() -> None:
    prepare = Prepared()
    with Ahead(Random(LABELS, 0, size=10), prepare) as ahead:
        assert ahead.take(embed, more=True).batch.number == 0
        assert prepare.done[1].wait(60)
        assert ahead.take(embed, more=True).batch.number == 1
    assert prepare.threads[0] == threading.current_thread().name
    assert prepare.threads[1].startswith("bench-batches")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Random(LABELS, 5, size=7),
        lambda: PK(LABELS, 5, people=3, images=2),
        lambda: Balanced(LABELS, 5, size=7),
    ],
)
def test_batches_are_those_of_the_source_and_its_state_counts_what_was_taken(make) -> None:  # type: ignore[no-untyped-def]
    source: Counted = make()
    prepare = Prepared()
    with Ahead(source, prepare) as ahead:
        taken = [ahead.take(embed, more=number < 4).batch for number in range(4)]
        assert prepare.done[4].wait(60)
        assert source.state_dict() == {"number": 4}
    expected = make()
    for batch in taken:
        np.testing.assert_array_equal(batch.indices, expected.next(embed).indices)


@pytest.mark.parametrize("beside", [True, False])
def test_images_stay_as_they_are_until_the_next_batch_is_taken(beside: bool) -> None:
    prepare, places = Prepared(), set()
    with Ahead(Random(LABELS, 0, size=10), prepare, beside=beside) as ahead:
        for number in range(6):
            images = ahead.take(embed, more=number < 5).images
            if beside and number < 5:
                assert prepare.done[number + 1].wait(60)
            assert images.item() == number
            places.add(images.data_ptr())
    assert len(places) == (2 if beside else 1)


def test_nothing_is_read_beyond_the_last_batch() -> None:
    prepare = Prepared()
    with Ahead(Random(LABELS, 0, size=10), prepare) as ahead:
        for number in range(3):
            ahead.take(embed, more=number < 2)
    assert sorted(prepare.threads) == [0, 1, 2]


def test_a_source_that_selects_by_the_weights_is_asked_when_the_batch_is_due() -> None:
    source, prepare = ByWeights(), Prepared()
    with Ahead(source, prepare) as ahead:
        for number in range(3):
            assert ahead.take(embed, more=True).batch.number == number
            assert source.asked == number + 1
    assert set(prepare.threads.values()) == {threading.current_thread().name}


def test_without_a_second_thread_each_batch_is_prepared_when_it_is_due() -> None:
    prepare = Prepared()
    with Ahead(Random(LABELS, 0, size=10), prepare, beside=False) as ahead:
        assert [ahead.take(embed, more=True).batch.number for _ in range(3)] == [0, 1, 2]
    assert set(prepare.threads.values()) == {threading.current_thread().name}


def test_a_damaged_image_is_an_error_of_its_own_batch_and_no_thread_stays() -> None:
    prepare = Prepared(broken=2)
    source = Random(LABELS, 0, size=10)
    with Ahead(source, prepare) as ahead:
        ahead.take(embed, more=True)
        ahead.take(embed, more=True)
        assert prepare.done[2].wait(60)
        with pytest.raises(BenchError, match=r"^image of batch 2 is damaged$"):
            ahead.take(embed, more=True)
    assert source.state_dict() == {"number": 2}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bench-batches")]
