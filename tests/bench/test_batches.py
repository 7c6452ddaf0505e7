import numpy as np
import pytest
import torch

from bench.data.batches import PK, Balanced, Draw, Random, step_seed, torch_seed
from bench.errors import UserError

LABELS = np.repeat(np.arange(10), 6)
LONG_TAIL = np.repeat([3, 0, 1, 2, 4], [50, 2, 1, 3, 2])


def no_embed(
    indices: np.ndarray, *, batch_size: int, training: bool = False, number: int = 0
) -> torch.Tensor:
    raise AssertionError("this source selects nothing by distance")


def draw(source: Random | PK | Balanced, count: int) -> list[list[int]]:
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


def test_pk_lets_people_with_few_images_in_when_told_to() -> None:
    assert {
        int(label) for batch in draw(PK(LONG_TAIL, 0, people=1, images=4), 9) for label in LONG_TAIL[batch]
    } == {3}
    for batch in draw(PK(LONG_TAIL, 0, people=4, images=4, min_images=2), 20):
        people, counts = np.unique(LONG_TAIL[batch], return_counts=True)
        assert people.tolist() == [0, 2, 3, 4]
        assert counts.tolist() == [4, 4, 4, 4]
        of_image = dict(zip(*np.unique(batch, return_counts=True), strict=True))
        assert sorted(of_image[row] for row in np.flatnonzero(LONG_TAIL == 0)) == [2, 2]
        assert sorted(of_image[row] for row in np.flatnonzero(LONG_TAIL == 2)) == [1, 1, 2]


def test_balanced_shows_every_person_equally_often_and_every_image() -> None:
    drawn = np.concatenate(draw(Balanced(LONG_TAIL, 1, size=7), 400))
    people, counts = np.unique(LONG_TAIL[drawn], return_counts=True)
    assert people.tolist() == [0, 1, 2, 3, 4]
    assert counts.tolist() == [560] * 5
    assert set(drawn.tolist()) == set(range(len(LONG_TAIL)))
    of_image = np.bincount(drawn)[LONG_TAIL == 2]
    assert of_image.min() > 140  # 560 / 3 = 187, standard deviation 11


def test_balanced_shows_each_person_once_a_pass_in_a_new_order() -> None:
    drawn = np.concatenate(draw(Balanced(LONG_TAIL, 1, size=7), 5)).reshape(7, 5)
    orders = LONG_TAIL[drawn]
    assert (np.sort(orders, axis=1) == np.arange(5)).all()
    assert len({tuple(order) for order in orders.tolist()}) > 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Random(LABELS, 5, size=7),
        lambda: PK(LABELS, 5, people=3, images=2),
        lambda: PK(LONG_TAIL, 5, people=3, images=4, min_images=1),
        lambda: Balanced(LONG_TAIL, 5, size=7),
    ],
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
        r"lower batch\.people, batch\.images or batch\.min_images$"
    )
    with pytest.raises(UserError, match=message):
        PK(labels, 0, people=2, images=3)


@pytest.mark.parametrize("rank", [0, 3])
def test_the_seed_of_a_step_is_the_same_in_whatever_order_steps_are_asked_for(rank: int) -> None:
    steps = [0, 1, 63, 64, 130, 65, 2]
    found = [step_seed(7, Draw.FORWARD, step, rank) for step in steps]
    assert found == [torch_seed(7, Draw.FORWARD, step, rank) for step in steps]
    assert len({*found, step_seed(8, Draw.FORWARD, 0, rank), step_seed(7, Draw.LOSS, 0, rank)}) == 9
