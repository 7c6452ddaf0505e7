"""Tests of bench/data/super_batch.py against facenet's algorithm, written anew in plain numpy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.data.batches import Indices
from bench.data.super_batch import SuperBatch
from bench.errors import TrainingError, UserError

# Two people with many images, a long tail with few, two with one: 60 images.
COUNTS = [12, 10, 5, 5, 4, 4, 4, 3, 3, 2, 2, 2, 1, 1, 2]
LABELS = np.repeat(np.arange(15) * 3, COUNTS)[np.random.default_rng(0).permutation(60)]
OPTIONS = {"people": 6, "images": 5, "triplets": 4, "alpha": 0.4}


class Camera:
    """Embeds by a table and remembers what it was asked."""

    def __init__(self, seed: int = 0, spread: float = 1.0) -> None:
        random = np.random.default_rng(seed)
        centers = random.normal(size=(100, 4))
        self.table = (centers[LABELS] + spread * random.normal(size=(60, 4))).astype(np.float32)
        self.samples: list[Indices] = []
        self.asked: list[tuple[int, bool, int]] = []

    def __call__(
        self, indices: Indices, *, batch_size: int, training: bool = False, number: int = 0
    ) -> torch.Tensor:
        self.samples.append(indices)
        self.asked.append((batch_size, training, number))
        return torch.from_numpy(self.table[indices])


def facenet_candidates(
    embeddings: NDArray[np.float32], counts: list[int], people: int, alpha: float
) -> dict[tuple[int, int], set[int]]:
    """Anchor and positive -> negatives to draw from, by position in the super-batch; pairs with some.

    The rule of select_triplets: people one after the other, every pair once with the earlier image as anchor,
    negatives among the images of all others.
    """
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found: dict[tuple[int, int], set[int]] = {}
    start = 0
    for count in counts[:people]:
        for anchor in range(start, start + count):
            to_all = ((unit[anchor] - unit) ** 2).sum(1)
            to_all[start : start + count] = np.inf
            for positive in range(anchor + 1, start + count):
                to_positive = ((unit[anchor] - unit[positive]) ** 2).sum()
                violators = np.flatnonzero(to_all - to_positive < alpha)
                if len(violators):
                    found[anchor, positive] = set(violators.tolist())
        start += count
    return found


def one_super_batch(source: SuperBatch, camera: Camera) -> NDArray[np.int64]:
    """All triplets (T, 3) of the next super-batch, as positions in it."""
    known = len(camera.samples)
    rows = [source.next(camera).indices]
    while source.state_dict()["used"] < len(source.state_dict()["selected"]):
        rows.append(source.next(camera).indices)
    assert len(camera.samples) == known + 1
    place = {int(image): position for position, image in enumerate(camera.samples[-1])}
    return np.array([place[int(image)] for image in np.concatenate(rows)]).reshape(-1, 3)


def runs_of(people: Indices) -> list[int]:
    """Lengths of runs of equal labels."""
    edges = np.flatnonzero(np.diff(people)) + 1
    return [len(part) for part in np.split(people, edges)]


@pytest.mark.parametrize("seed", range(8))
def test_selects_facenets_pairs_each_with_a_negative_that_facenet_could_have_drawn(seed: int) -> None:
    camera = Camera(seed, spread=0.5)
    triplets = one_super_batch(SuperBatch(LABELS, seed, **OPTIONS), camera)
    sample = camera.samples[0]
    expected = facenet_candidates(camera.table[sample], runs_of(LABELS[sample]), 6, 0.4)
    assert sorted((int(a), int(p)) for a, p, _ in triplets) == sorted(expected)
    assert all(int(n) in expected[int(a), int(p)] for a, p, n in triplets)
    pairs = [(a, p) for a, p, _ in triplets.tolist()]
    assert pairs != sorted(pairs), "triplets must be shuffled"


def test_the_negative_is_drawn_uniformly_among_violators() -> None:
    labels = np.repeat([0, 1], 8)
    embeddings = torch.nn.functional.normalize(torch.randn(16, 5, generator=torch.Generator().manual_seed(3)))
    d = ((embeddings[:, None] - embeddings[None]) ** 2).sum(2)
    counts = {(2, 3): np.zeros(16), (3, 2): np.zeros(16)}
    for seed in range(900):
        source = SuperBatch(labels, seed, people=2, images=8, alpha=0.2, triplets=60)
        batch = source.next(lambda indices, **_: embeddings[torch.from_numpy(indices)])
        for a, p, n in batch.indices.reshape(-1, 3).tolist():
            if (a, p) in counts:
                counts[a, p][n] += 1
    for (a, p), found in counts.items():  # which of the two is the anchor depends on who was drawn first
        violators = [n for n in range(8, 16) if d[a, n] < d[a, p] + 0.2]
        assert 4 <= len(violators) <= 5
        assert 360 < found.sum() == found[violators].sum() < 540
        mean = found.sum() / len(violators)
        # chi-square: 18.5 with four degrees of freedom is one in a thousand
        assert ((found[violators] - mean) ** 2 / mean).sum() < 18.5


def test_people_are_drawn_until_the_super_batch_is_full_so_a_long_tail_brings_more_of_them() -> None:
    camera = Camera()
    source = SuperBatch(LABELS, 1, **OPTIONS)
    for _ in range(20):
        one_super_batch(source, camera)
    more = 0
    for sample in camera.samples:
        assert len(set(sample.tolist())) == len(sample) == 30
        people = LABELS[sample]
        counts = runs_of(people)
        assert len(counts) == len(set(people.tolist())), "the images of a person stand together"
        own = [min(5, COUNTS[int(label) // 3]) for label in dict.fromkeys(people.tolist())]
        assert counts[:-1] == own[:-1]
        assert 1 <= counts[-1] <= own[-1]
        more += len(counts) > 6
    assert more > 15


def test_people_beyond_the_first_are_negatives_only() -> None:
    camera = Camera(spread=2.0)
    triplets = one_super_batch(SuperBatch(LABELS, 2, **OPTIONS), camera)
    counts = runs_of(LABELS[camera.samples[0]])
    first = sum(counts[:6])
    assert len(counts) > 6
    assert triplets[:, :2].max() < first <= triplets[:, 2].max()


def test_it_embeds_as_it_is_told_and_once_a_super_batch() -> None:
    for mode in ("train", "eval"):
        camera = Camera()
        source = SuperBatch(LABELS, 0, **OPTIONS, embed_mode=mode)
        one_super_batch(source, camera)
        one_super_batch(source, camera)
        assert camera.asked == [(12, mode == "train", 0), (12, mode == "train", 1)]


def test_batches_count_on_and_only_the_last_of_a_super_batch_is_smaller() -> None:
    camera, source = Camera(), SuperBatch(LABELS, 0, **OPTIONS)
    batches = [source.next(camera) for _ in range(60)]
    assert [batch.number for batch in batches] == list(range(60))
    sizes = [len(batch.indices) for batch in batches]
    assert source.size == 12
    assert sizes.count(12) > 40
    assert all(size % 3 == 0 and 3 <= size <= 12 for size in sizes)


@pytest.mark.parametrize("done", [0, 1, 3, 17])
def test_it_continues_from_its_state_in_the_middle_of_a_super_batch(done: int) -> None:
    first = SuperBatch(LABELS, 4, **OPTIONS)
    for _ in range(done):
        first.next(Camera())
    second = SuperBatch(LABELS, 4, **OPTIONS)
    second.load_state_dict(first.state_dict())
    # another camera: triplets that were chosen stay chosen, whatever the weights have become
    expected = [first.next(Camera(1)).indices.tolist() for _ in range(30)]
    assert [second.next(Camera(1)).indices.tolist() for _ in range(30)] == expected


def test_selection_leaves_the_random_numbers_of_training_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    SuperBatch(LABELS, 0, **OPTIONS).next(Camera())
    assert torch.equal(torch.rand(3), expected)


def test_a_super_batch_without_violations_is_drawn_again_and_the_tenth_ends_training(
    caplog: pytest.LogCaptureFixture,
) -> None:
    camera = Camera(spread=1e-4)
    source = SuperBatch(LABELS, 0, **{**OPTIONS, "alpha": 1e-6})
    message = (
        "batch 0: none of 10 super-batches has a triplet that violates batch.alpha=1e-06: there is nothing "
        "left to learn; end earlier, or raise batch.alpha"
    )
    with pytest.raises(TrainingError, match=f"^{re.escape(message)}$"):
        source.next(camera)
    assert len(camera.samples) == 10
    assert len({tuple(sample) for sample in camera.samples}) == 10
    assert caplog.messages[0] == "super-batch 1: no triplet violates the margin"
    triplets = source.next(Camera(spread=2.0)).indices
    assert len(triplets) % 3 == 0, "it may go on with other weights"


def test_embeddings_that_are_not_finite_are_not_taken_for_success() -> None:
    camera = Camera()
    camera.table[7] = np.nan
    message = r"^batch \d+: embeddings of the super-batch are not finite; lower optimizer\.learning_rate$"
    with pytest.raises(TrainingError, match=message):
        for seed in range(20):
            SuperBatch(LABELS, seed, **OPTIONS).next(camera)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (
            LABELS,
            {"people": 45, "images": 40},
            "batch.people: 45 people x 40 images a super-batch, but the training set has 60 images at 40 a "
            "person; lower batch.people or batch.images",
        ),
        (
            np.arange(30),
            {"people": 2, "images": 2},
            "batch.name: super_batch pairs images of one person, but nobody has two",
        ),
    ],
)
def test_what_the_data_cannot_give_is_refused_in_words(
    labels: Indices, options: dict[str, int], message: str
) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        SuperBatch(labels, 0, **options)
