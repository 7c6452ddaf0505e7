"""Who trains and who validates: people are divided, never the images of one person.

Validation is an LFW-shaped protocol over people that training never sees: ten folds, no person in two of
them, as many genuine as impostor pairs. Every person of a fold gives about equally many genuine pairs, so
that one with five hundred images does not decide alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from bench.data.faces import FaceSet, Images, PairProtocol, Rows
from bench.errors import UserError
from losses.types import Bounds, PositiveInt

NUM_FOLDS = 10
Share = Annotated[float, Bounds(gt=0.0, lt=1.0)]


@dataclass(frozen=True, slots=True)
class Validation:
    """Validation people, taken from the training set.

    Args:
        identities: share of the people; none of their images is trained on.
        pairs: genuine pairs in each of the ten folds, and as many impostor pairs.
    """

    identities: Share = 0.1
    pairs: PositiveInt = 100


class _Draw(IntEnum):
    PEOPLE = 0
    GENUINE = 1
    IMPOSTOR = 2


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Training and validation.

    Args:
        train: images of the people who are trained on, labels counted anew from 0.
        validation: pairs of the others.
        rows: (N,) int64, which rows of the whole set `train` has.
    """

    train: FaceSet
    validation: PairProtocol
    rows: NDArray[np.int64]


def split_people(
    images: Images,
    labels: NDArray[np.int64],
    identities: tuple[str, ...],
    *,
    seed: int,
    min_images: int,
    validation: Validation,
) -> Split:
    """Divide a set.

    Args:
        images: (N, 3, H, W).
        labels: (N,) ascending.
        identities: name of each label, sorted.
        seed: of the choice of people and pairs.
        min_images: people with fewer take no part, neither here nor there.
        validation: how many.

    Raises:
        UserError: too few people, or too few images of them.
    """
    counts = np.bincount(labels, minlength=len(identities))
    taking_part = np.flatnonzero(counts >= max(min_images, 1))
    chosen = _validation_people(counts, taking_part, seed, validation)
    trained = np.setdiff1d(taking_part, chosen)
    if not len(trained):
        raise UserError(
            f"data: nobody is left to train on: of {len(identities):,} people {len(taking_part):,} have "
            f"{min_images} images or more (data.min_images_per_identity)"
        )
    label_of = np.full(len(identities), -1, np.int64)
    label_of[trained] = np.arange(len(trained))
    renumbered = label_of[labels]
    rows = np.flatnonzero(renumbered >= 0)
    train = FaceSet(Rows(images, rows), renumbered[rows], tuple(identities[person] for person in trained))
    protocol = _draw_pairs(images, labels, identities, counts, chosen, seed, validation)
    return Split(train, protocol, rows)


def check_people(labels: NDArray[np.int64], *, min_images: int, validation: Validation) -> None:
    """Refuse a set that is too small for its validation, before hours go into packing it.

    Args:
        labels: (N,) of all images, whether they can be read or not.
        min_images: people with fewer take no part.
        validation: how many.

    Raises:
        UserError: too few people.
    """
    counts = np.bincount(labels)
    _candidates(counts, np.flatnonzero(counts >= max(min_images, 1)), validation)


def _validation_people(
    counts: NDArray[np.int64], taking_part: NDArray[np.int64], seed: int, validation: Validation
) -> NDArray[np.int64]:
    """In random order."""
    candidates, wanted = _candidates(counts, taking_part, validation)
    keys = _stream(seed, _Draw.PEOPLE).random(len(candidates))
    people: NDArray[np.int64] = candidates[np.argsort(keys, kind="stable")[:wanted]]
    return people


def _candidates(
    counts: NDArray[np.int64], taking_part: NDArray[np.int64], validation: Validation
) -> tuple[NDArray[np.int64], int]:
    """Who may validate, and how many of them will. Only two images can give a genuine pair."""
    candidates = taking_part[counts[taking_part] >= 2]
    wanted = round(validation.identities * len(taking_part))
    if wanted < 2 * NUM_FOLDS:
        raise UserError(
            f"data.validation.identities: {validation.identities:g} of {len(taking_part):,} people are "
            f"{wanted}, but {NUM_FOLDS} folds need two each, {2 * NUM_FOLDS}; raise it"
        )
    if wanted > len(candidates):
        raise UserError(
            f"data.validation.identities: {validation.identities:g} of {len(taking_part):,} people are "
            f"{wanted:,}, but only {len(candidates):,} have two images; lower it"
        )
    return candidates, wanted


def _draw_pairs(
    images: Images,
    labels: NDArray[np.int64],
    identities: tuple[str, ...],
    counts: NDArray[np.int64],
    people: NDArray[np.int64],
    seed: int,
    validation: Validation,
) -> PairProtocol:
    starts = np.searchsorted(labels, np.arange(len(identities)))
    pairs: list[NDArray[np.int64]] = []
    for fold in range(NUM_FOLDS):
        own = people[fold::NUM_FOLDS]
        genuine = _genuine(_stream(seed, _Draw.GENUINE, fold), counts[own], starts[own], validation.pairs)
        impostor = _impostor(_stream(seed, _Draw.IMPOSTOR, fold), counts[own], starts[own], validation.pairs)
        for kind, found in (("genuine", genuine), ("impostor", impostor)):
            if len(found) < validation.pairs:
                raise UserError(
                    f"data.validation.pairs: {validation.pairs} {kind} pairs in each fold, but the "
                    f"{len(own)} people of fold {fold + 1} give {len(found)}; lower it, or raise "
                    "data.validation.identities"
                )
        pairs += [genuine, impostor]
    both = np.concatenate(pairs)
    used, places = np.unique(both, return_inverse=True)
    places = places.reshape(both.shape).astype(np.int64)
    known, own_labels = np.unique(labels[used], return_inverse=True)
    faces = FaceSet(
        Rows(images, used), own_labels.astype(np.int64), tuple(identities[person] for person in known)
    )
    return PairProtocol(
        name="validation",
        faces=faces,
        left=places[:, 0],
        right=places[:, 1],
        same=np.tile(np.repeat([True, False], validation.pairs), NUM_FOLDS),
        fold=np.repeat(np.arange(NUM_FOLDS), 2 * validation.pairs),
    )


def _genuine(
    generator: np.random.Generator, counts: NDArray[np.int64], starts: NDArray[np.int64], wanted: int
) -> NDArray[np.int64]:
    """Up to `wanted` different pairs (n, 2): one of each person, then another of each, and so on."""
    rounds: list[NDArray[np.float64]] = []
    found: list[NDArray[np.int64]] = []
    for count, start in zip(counts, starts, strict=True):
        left, right = np.triu_indices(count, k=1)
        keys = generator.random(len(left))
        order = np.argsort(keys, kind="stable")[:wanted]
        found.append(start + np.stack([left[order], right[order]], axis=1))
        rounds.append(np.arange(len(order)) + keys[order])  # by round, people in random order within it
    turn = np.argsort(np.concatenate(rounds), kind="stable")[:wanted]
    pairs: NDArray[np.int64] = np.concatenate(found)[turn]
    return pairs


def _impostor(
    generator: np.random.Generator, counts: NDArray[np.int64], starts: NDArray[np.int64], wanted: int
) -> NDArray[np.int64]:
    """Up to `wanted` different pairs (n, 2): two people at random, an image at random of each."""
    total = int((counts.sum() ** 2 - (counts**2).sum()) // 2)
    if total <= 4 * wanted:  # so few that drawing would meet the same again and again: shuffle them all
        owner = np.repeat(np.arange(len(counts)), counts)
        rows = np.concatenate([start + np.arange(count) for start, count in zip(starts, counts, strict=True)])
        left, right = np.triu_indices(len(rows), k=1)
        strangers = np.flatnonzero(owner[left] != owner[right])
        order = np.argsort(generator.random(len(strangers)), kind="stable")[:wanted]
        return np.stack([rows[left[strangers[order]]], rows[right[strangers[order]]]], axis=1)
    chosen: dict[tuple[int, int], None] = {}
    while len(chosen) < wanted:
        one, other, first, second = generator.random(4)
        left_person = int(one * len(counts))
        right_person = (left_person + 1 + int(other * (len(counts) - 1))) % len(counts)
        left_row = int(starts[left_person]) + int(first * counts[left_person])
        right_row = int(starts[right_person]) + int(second * counts[right_person])
        chosen[min(left_row, right_row), max(left_row, right_row)] = None
    return np.array(list(chosen), np.int64)


def _stream(seed: int, draw: _Draw, fold: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, draw, fold])))
