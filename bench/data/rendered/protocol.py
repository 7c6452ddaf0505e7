"""Which pairs are asked: LFW's view 2 over rendered people.

Ten folds, in each as many genuine as impostor pairs, no person in two folds (LFW's folds are disjoint as
well) and no pair twice. Differs from LFW: every person has the same number of images, where most of LFW's
people have one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bench.data.faces import FaceSet, PairProtocol
from bench.data.rendered.streams import Purpose, Split, stream

NUM_FOLDS = 10
IMAGES_PER_PERSON = 8


def people_per_fold(pairs_per_kind: int) -> int:
    """So many that about a quarter of all genuine pairs of a fold are asked: 40 people for 300 pairs."""
    return max(4, math.ceil(pairs_per_kind / 7.5))


def num_people(pairs_per_kind: int) -> int:
    """People in all folds."""
    return NUM_FOLDS * people_per_fold(pairs_per_kind)


def draw_protocol(name: str, faces: FaceSet, seed: int, split: Split, pairs_per_kind: int) -> PairProtocol:
    """Draw the pairs of each fold from that fold's own stream.

    Args:
        name: prefix of the metrics.
        faces: IMAGES_PER_PERSON images of each of `num_people(pairs_per_kind)` people, sorted by person.
        seed: `data.seed`.
        split: the population.
        pairs_per_kind: genuine pairs in a fold; as many impostor pairs.
    """
    people = people_per_fold(pairs_per_kind)
    left, right, same = [], [], []
    for fold in range(NUM_FOLDS):
        generator = stream(seed, split, Purpose.PAIRS, identity=fold)
        first = fold * people * IMAGES_PER_PERSON
        one, other = np.triu_indices(people * IMAGES_PER_PERSON, k=1)
        genuine = one // IMAGES_PER_PERSON == other // IMAGES_PER_PERSON
        for kind in (True, False):
            chosen = _choose(generator, np.flatnonzero(genuine == kind), pairs_per_kind)
            left.append(first + one[chosen])
            right.append(first + other[chosen])
            same.append(np.full(pairs_per_kind, kind))
    return PairProtocol(
        name=name,
        faces=faces,
        left=np.concatenate(left),
        right=np.concatenate(right),
        same=np.concatenate(same),
        fold=np.repeat(np.arange(NUM_FOLDS), 2 * pairs_per_kind),
    )


def _choose(generator: np.random.Generator, candidates: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` different candidates, in order. By sorting keys: numpy may change what `choice` draws."""
    keys = generator.random(len(candidates))
    chosen: NDArray[np.int64] = np.sort(candidates[np.argsort(keys, kind="stable")[:count]])
    return chosen
