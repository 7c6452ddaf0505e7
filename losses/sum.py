"""Several losses at once, each with its weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from losses.loss import LOSSES, Loss, LossOutput
from losses.options import check_options
from losses.registry import Choice
from losses.types import NonNegative


@dataclass(frozen=True, slots=True)
class Term:
    """One loss in a sum: `{loss: {name: triplet, alpha: 0.3}, weight: 1.0, warmup_epochs: 2}`.

    Args:
        loss: which one, with its options.
        weight: factor of its total.
        start_epoch: before it the weight is zero.
        warmup_epochs: from there on the weight grows linearly from zero over so many epochs.
    """

    loss: Annotated[Choice, LOSSES]
    weight: NonNegative = 1.0
    start_epoch: NonNegative = 0.0
    warmup_epochs: NonNegative = 0.0

    def __post_init__(self) -> None:
        """Hold the numbers to their bounds."""
        numbers = ("weight", "start_epoch", "warmup_epochs")
        check_options(Term, {name: getattr(self, name) for name in numbers})

    def weight_at(self, epoch: float) -> float:
        """The weight when so many epochs have passed."""
        if epoch < self.start_epoch:
            return 0.0
        if not self.warmup_epochs:
            return self.weight
        return self.weight * min(1.0, (epoch - self.start_epoch) / self.warmup_epochs)


@LOSSES.register
class Sum(Loss):
    """A weighted sum of losses on the same embeddings, by default cross entropy and triplets.

    L = sum_k w_k(epoch) L_k

    Each loss sees the raw embeddings and normalises them or not, as it does alone. In a configuration:

        loss:
          name: sum
          terms:
            - loss: {name: softmax}
            - loss: {name: triplet, mining: semi_hard}
              weight: 0.5
              warmup_epochs: 2

    Args:
        embedding_dim: D.
        num_classes: C, identities.
        terms: the losses with their weights.

    Shape:
        embeddings: (B, D), any norm; labels: (B,) int64 in [0, C) if a term asks for it; total: a scalar.

    Raises:
        ValueError: no terms; whatever a term refuses.

    Parts and monitors have the names that the terms give them; where a name is taken already, the number of
    the term follows: triplet, triplet_1.

    Source: none; cross entropy plus triplet on one embedding is common practice.
    Equation: none.
    Differs from the paper: there is none.
    Checked against: its terms: test_sum_is_the_weighted_sum_of_its_terms, test_weights_start_and_warm_up.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        terms: tuple[Term, ...] = (Term(Choice("softmax")), Term(Choice("triplet"))),
    ) -> None:
        super().__init__()
        if not terms:
            raise ValueError("terms must hold at least one loss, such as [{loss: {name: softmax}}]")
        engine = {"embedding_dim": embedding_dim, "num_classes": num_classes}
        self.terms = tuple(terms)
        self.losses = nn.ModuleList(
            LOSSES.build(term.loss.name, engine, term.loss.options) for term in self.terms
        )
        self.set_progress(0.0)

    def set_progress(self, epoch: float) -> None:
        """Set the weights for this epoch, here and in the terms."""
        self.weights = [term.weight_at(epoch) for term in self.terms]
        for loss in self._losses():
            loss.set_progress(epoch)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        totals: list[Tensor] = []
        parts: dict[str, Tensor] = {}
        monitors: dict[str, Tensor] = {}
        for number, (loss, weight) in enumerate(zip(self._losses(), self.weights, strict=True)):
            loss.monitoring = self.monitoring
            output: LossOutput = loss(embeddings, labels)
            totals.append(weight * output.total)
            for name, value in output.parts.items():
                parts[_free(name, number, parts)] = weight * value
            for name, value in output.monitors.items():
                monitors[_free(name, number, monitors)] = value
        return LossOutput(torch.stack(totals).sum(), parts, monitors)

    def _losses(self) -> list[Loss]:
        return [loss for loss in self.losses if isinstance(loss, Loss)]


def _free(name: str, number: int, taken: dict[str, Tensor]) -> str:
    return f"{name}_{number}" if name in taken else name
