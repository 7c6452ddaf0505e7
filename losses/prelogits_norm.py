"""Prelogits-norm loss: keeps raw embeddings short; a regulariser beside a classifier."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from losses.loss import LOSSES, Loss, LossOutput
from losses.types import Bounds, NonNegative

Order = Annotated[float, Bounds(ge=1.0)]

_EPSILON = 1e-4  # facenet's; with p = 1 it only adds a constant


@LOSSES.register
class PrelogitsNorm(Loss):
    """The mean length of the raw embeddings, small; collapses unless another loss holds it open.

    L = factor/B sum_i || |x_i| + 1e-4 ||_p

    Beside a classifier, as facenet's recipes have it:

        loss:
          name: sum
          terms:
            - loss: {name: softmax}
            - loss: {name: prelogits_norm, factor: 5e-4}

    Args:
        factor: weight of the norm; facenet's prelogits_norm_loss_factor.
        p: order of the norm; facenet's prelogits_norm_p.

    Shape:
        embeddings: (B, D), any norm, used as they are; labels: (B,) int64, without effect; total: factor
        times a length of embeddings.

    Monitors: prelogits_norm, the mean norm without the factor.

    Source: davidsandberg/facenet@096ed77 train_softmax.py.
    Equation: none; there is no paper.
    Differs from the paper: nothing differs from facenet.
    Checked against: loops in float64: test_prelogits_norm_value_and_gradient_equal_loops.
    """

    def __init__(self, *, factor: NonNegative = 5e-4, p: Order = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.p = p

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        norm = (embeddings.abs() + _EPSILON).norm(p=self.p, dim=1).mean()
        total = self.factor * norm
        monitors = {"prelogits_norm": norm.detach()} if self.monitoring else {}
        return LossOutput(total, {"prelogits_norm_term": total.detach()}, monitors)
