import numpy as np
import pytest
import torch

from bench.data.batches import PK, Random
from bench.errors import UserError

LABELS = np.repeat(np.arange(10), 6)


def no_embed(
    indices: np.ndarray, *, batch_size: int, training: bool = False, number: int = 0
) -> torch.Tensor:
    raise AssertionError("this source selects nothing by distance")


def draw(source: Random | PK, count: int) -> list[list[int]]:
    return [source.next(no_embed).indices.tolist() for _ in range(count)]


def test_random_shows_every_image_once_a_pass() -> None:
    batches = draw(Random(LABELS, 0, size=20), 3)
    assert sorted(index for batch in batches for index in batch) == list(range(60))


def test_random_leaves_an_incomplete_batch_out_of_the_pass() -> None:
    source = Random(LABELS, 0, size=25)
    first_pass = draw(source, 2)
    assert len({index for batch in first_pass for index in batch}) == 50


def test_every_pass_and_every_seed_has_its_own_order() -> None:
    source = Random(LABELS, 0, size=60)
    assert draw(source, 1) != draw(source, 1)
    assert draw(Random(LABELS, 0, size=60), 1) != draw(Random(LABELS, 1, size=60), 1)


def test_pk_has_p_people_with_k_different_images_each() -> None:
    for batch in draw(PK(LABELS, 3, people=4, images=3), 25):
        people, counts = np.unique(LABELS[batch], return_counts=True)
        assert len(people) == 4
        assert set(counts) == {3}
        assert len(set(batch)) == 12


def test_pk_shows_every_person_once_a_pass() -> None:
    batches = draw(PK(LABELS, 3, people=5, images=2), 2)
    assert sorted({int(LABELS[index]) for batch in batches for index in batch}) == list(range(10))


@pytest.mark.parametrize(
    "make", [lambda: Random(LABELS, 5, size=7), lambda: PK(LABELS, 5, people=3, images=2)]
)
def test_a_source_continues_from_its_state(make) -> None:  # type: ignore[no-untyped-def]
    whole = draw(make(), 30)
    first = make()
    draw(first, 13)
    second = make()
    second.load_state_dict(first.state_dict())
    assert draw(second, 17) == whole[13:]


def test_a_batch_larger_than_the_data_is_refused_in_words() -> None:
    with pytest.raises(UserError, match=r"^batch\.size: 61 images a batch, but the training set has 60$"):
        Random(LABELS, 0, size=61)


def test_pk_that_the_data_cannot_give_is_refused_in_words() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    message = (
        r"^batch\.people: 2 people x 3 images a batch, but only 1 people of the training set have 3 images; "
        r"lower batch\.people or batch\.images$"
    )
    with pytest.raises(UserError, match=message):
        PK(labels, 0, people=2, images=3)
