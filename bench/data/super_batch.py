"""facenet's triplet trainer: embed many images, select triplets among them, train on those for long."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from bench.data.batches import BATCHES, Batch, Draw, Embed, Indices, images_of_people, stream
from bench.errors import TrainingError, UserError
from losses.distances import normalize, squared_distances
from losses.mining import compare, draw_violators
from losses.types import Bounds, Positive, PositiveInt

AtLeastTwo = Annotated[int, Bounds(ge=2)]

_MOST_EMPTY = 10  # super-batches in a row without a triplet

_log = logging.getLogger("bench.data")


@BATCHES.register
class SuperBatch:
    """Triplets selected among people x images embedded at once, for hundreds of steps.

    The rows of a batch are anchor, positive, negative, anchor, and so on.

    A super-batch takes people in random order, at most `images` of each without replacement, until it has
    people x images: where many people have few images, these are more people than `people`. All are
    embedded, forward only. Then each pair of images of one of the first `people` people gets one negative,
    at random among the images of everybody else that violate d_an < d_ap + alpha (squared distances of unit
    embeddings); a pair without any is dropped. The earlier image of a pair is its anchor. The triplets are
    shuffled and trained on, `triplets` a batch, until none is left: by then the weights have moved on for
    hundreds of steps. The last batch may be smaller.

    Train with `loss: {name: triplet, mining: given, average: all}`.

    Args:
        labels: (N,) identity of each image.
        seed: of people, images, negatives and order.
        people: whose pairs are looked at, facenet's people_per_batch.
        images: of a person at most, facenet's images_per_person.
        alpha: margin of the selection; the loss has its own, which facenet gives the same value.
        triplets: of a batch; facenet's batch_size is three times that.
        embed_mode: train embeds as facenet does: augmented (a triplet is augmented anew when it is trained
            on), with dropout and the statistics of each batch. eval embeds the images as they are, in
            evaluation mode.

    Raises:
        UserError: the training set cannot fill a super-batch, or nobody has two images.

    Source: davidsandberg/facenet@096ed77 train_tripletloss.py, sample_people and select_triplets.
    Differs from facenet: where the images do not suffice it refuses, facenet ends in an IndexError; an epoch
        ends after its steps, facenet's only with the super-batch.
    """

    gives_triplets = True

    def __init__(
        self,
        labels: Indices,
        seed: int,
        *,
        people: AtLeastTwo = 45,
        images: AtLeastTwo = 40,
        alpha: Positive = 0.2,
        triplets: PositiveInt = 30,
        embed_mode: Literal["train", "eval"] = "train",
    ) -> None:
        self._images_of = images_of_people(labels)
        available = sum(min(len(own), images) for own in self._images_of)
        if available < people * images:
            raise UserError(
                f"batch.people: {people} people x {images} images a super-batch, but the training set has "
                f"{available} images at {images} a person; lower batch.people or batch.images"
            )
        if all(len(own) < 2 for own in self._images_of):
            raise UserError("batch.name: super_batch pairs images of one person, but nobody has two")
        self.size = 3 * triplets
        self._seed = seed
        self._people = people
        self._images = images
        self._alpha = alpha
        self._training = embed_mode == "train"
        self._number = 0
        self._super_batches = 0
        self._selected = torch.empty(0, 3, dtype=torch.int64)
        self._used = 0

    def next(self, embed: Embed) -> Batch:
        """The next triplets of the super-batch, or the first of another one."""
        if self._used == len(self._selected):
            self._selected, self._used = self._select_some(embed), 0
        rows = self._selected[self._used : self._used + self.size // 3]
        batch = Batch(self._number, rows.flatten().numpy())
        self._used += len(rows)
        self._number += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The chosen triplets are part of it: the weights that chose them are gone."""
        return {
            "number": self._number,
            "super_batches": self._super_batches,
            "selected": self._selected,
            "used": self._used,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken, in the middle of a super-batch or not."""
        self._number = int(state["number"])
        self._super_batches = int(state["super_batches"])
        self._selected = state["selected"].cpu()
        self._used = int(state["used"])

    def _select_some(self, embed: Embed) -> Tensor:
        """(T, 3) images, T > 0.

        Raises:
            TrainingError: no super-batch of several gave a triplet, or embeddings are not finite.
        """
        for _ in range(_MOST_EMPTY):
            selected = self._select(embed, self._super_batches)
            self._super_batches += 1
            if len(selected):
                return selected
            _log.warning("super-batch %d: no triplet violates the margin", self._super_batches)
        raise TrainingError(
            f"batch {self._number}: none of {_MOST_EMPTY} super-batches has a triplet that violates "
            f"batch.alpha={self._alpha:g}: there is nothing left to learn; end earlier, or raise batch.alpha"
        )

    def _select(self, embed: Embed, number: int) -> Tensor:
        random = stream(self._seed, Draw.ORDER, number)
        sample, person = self._sample(random)
        embeddings = embed(sample, batch_size=self.size, training=self._training, number=number)
        # on the CPU wherever the weights are: the same distances give the same triplets
        unit = normalize(embeddings.float().cpu())
        if not torch.isfinite(unit).all():
            raise TrainingError(
                f"batch {self._number}: embeddings of the super-batch are not finite; lower "
                "optimizer.learning_rate"
            )
        triplets = self._violating(unit, torch.from_numpy(person), int(random.integers(2**63)))
        order = random.permutation(len(triplets))
        return torch.from_numpy(sample)[triplets[torch.from_numpy(order)]]

    def _sample(self, random: np.random.Generator) -> tuple[Indices, Indices]:
        """Images of a super-batch, and whose they are, counted in the order in which people were drawn."""
        wanted = self._people * self._images
        rows: list[Indices] = []
        for person in random.permutation(len(self._images_of)):
            own = random.permutation(self._images_of[person])
            rows.append(own[: min(self._images, wanted)])
            wanted -= len(rows[-1])
            if not wanted:
                break
        return np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(own) for own in rows])

    def _violating(self, unit: Tensor, person: Tensor, seed: int) -> Tensor:
        """(T, 3) rows of the super-batch, pair after pair."""
        num_anchors = int((person < self._people).sum())
        comparison = compare(
            squared_distances(unit[:num_anchors], unit),
            person[:num_anchors],
            person,
            squared=True,
            embedding_dim=unit.shape[1],
            alpha=self._alpha,
        )
        with torch.random.fork_rng(devices=[]):
            # not torch.manual_seed, which would seed the GPU's dropout as well
            torch.default_generator.manual_seed(seed)
            mined = draw_violators(comparison, pairs=comparison.is_later)
        return torch.stack([mined.anchor, mined.positive, mined.negative], 1)
