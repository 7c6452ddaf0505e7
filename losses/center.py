"""Center loss: cross entropy and a pull of every embedding towards the center of its identity."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from losses.loss import LOSSES, Loss, LossOutput
from losses.softmax import Softmax
from losses.types import Fraction, NonNegative, Probability, SampleRate

Convention = Literal["facenet", "paper"]
Centers = Literal["ema", "learnable"]


@LOSSES.register
class CenterTerm(Loss):
    """The pull towards the centers alone, unweighted; collapses unless another loss holds it open.

    facenet: L = 1/(B D) sum_i |x_i - c_y|^2;  c_j <- c_j - (1 - alfa) S_j
    paper:   L = 1/(2 B) sum_i |x_i - c_y|^2;  c_j <- c_j - (1 - alfa) S_j / (1 + n_j)
    with     S_j = sum_{i: y_i = j} (c_j - x_i)

    n_j is the number of images of identity j in the batch. Both take the centers from before the update, and
    the gradient does not pass through the update. The two weights agree where
    factor(facenet) = factor(paper) * D / 2.

    Args:
        embedding_dim: D.
        num_classes: C, identities.
        alfa: share of the old center that an image leaves in place; facenet's name. The paper's alpha is
            1 - alfa. Without meaning for learnable centers.
        convention: facenet or paper, as above.
        centers: ema updates them as above; learnable makes them parameters, moved by the optimiser along
            the gradient of the same L.

    Shape:
        embeddings: (B, D), any norm, used as they are; labels: (B,) int64 in [0, C); total: squared length
        of embeddings.

    Raises:
        ValueError: labels outside [0, C).

    Monitors: center_radius, mean |x_i - c_y|; center_distance, mean distance of the centers of two
    identities (at most B pairs of this batch), nan when the batch shows one identity.

    Source: Wen et al., A Discriminative Feature Learning Approach for Deep Face Recognition, ECCV 2016.
    Equation: 2 to 4 (paper).
    Differs from the paper: divided by B, as cross entropy is; centers start at 0, as in facenet.
    Checked against: loops, duplicates in a batch included: test_center_value_and_update_equal_loops,
        test_center_gradient_equals_formula.
    """

    centers: Tensor
    class_rows = ("centers",)

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        alfa: Fraction = 0.95,
        convention: Convention = "facenet",
        centers: Centers = "ema",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.alfa = alfa
        self.convention = convention
        start = torch.zeros(num_classes, embedding_dim)
        if centers == "learnable":
            self.centers = nn.Parameter(start)
        else:
            self.register_buffer("centers", start)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class. In training mode the centers move."""
        # A gather of B rows: with C = 100,000 a matrix B x C would cost a thousand times as much.
        own = self.classes.take(self.centers, labels).to(embeddings.dtype)
        squares = (embeddings - own).square()
        total = squares.mean() if self.convention == "facenet" else squares.sum(1).mean() / 2
        if self.training and not isinstance(self.centers, nn.Parameter):
            self._move(embeddings.detach() - own, labels)
        monitors = _monitors(squares.detach(), own.detach(), labels) if self.monitoring else {}
        return LossOutput(total, {"center_term": total.detach()}, monitors)

    @torch.no_grad()
    def _move(self, towards: Tensor, labels: Tensor) -> None:
        """Move the centers; images of one identity add up."""
        held = self.classes.held(labels)
        towards = ((1.0 - self.alfa) * towards).masked_fill(~held.unsqueeze(1), 0.0)
        rows = self.classes.rows(labels)
        if self.convention == "paper":
            images = torch.zeros_like(self.centers[:, 0]).index_add_(0, rows, held.to(self.centers.dtype))
            towards = towards / (1.0 + images[rows].to(towards.dtype)).unsqueeze(1)
        self.centers.index_add_(0, rows, towards.to(self.centers.dtype))


@LOSSES.register
class Center(Loss):
    """Softmax cross entropy plus factor times the center term.

    L = L_softmax + factor * L_center, with `Softmax` and `CenterTerm`, on the same raw embeddings.

    Args:
        embedding_dim: D.
        num_classes: C, identities.
        factor: weight of the center term (lambda).
        alfa: share of the old center that an image leaves in place; the paper's alpha is 1 - alfa.
        convention: of term and update, see `CenterTerm`. facenet averages over dimensions, paper halves the
            sum, so factor 0.01 in facenet's is 2 * 0.01 / D in the paper's.
        centers: ema, or learnable by the optimiser.
        bias: of the classifier.
        label_smoothing: of the cross entropy.
        sample_rate: share of the classes that take part in a step of the cross entropy, see `Softmax`; the
            center term looks at those of the batch in any case.

    Shape:
        embeddings: (B, D), any norm, used as they are; labels: (B,) int64 in [0, C); total: nats.

    Raises:
        ValueError: labels outside [0, C).

    Monitors: center_share, the center term's share of the total; those of `Softmax` and `CenterTerm`.

    Source: Wen et al., A Discriminative Feature Learning Approach for Deep Face Recognition, ECCV 2016.
    Equation: 5.
    Differs from the paper: both terms divided by B; default factor and convention are facenet's.
    Checked against: sum of its parts: test_center_is_cross_entropy_plus_factor_times_term.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        factor: NonNegative = 0.01,
        alfa: Fraction = 0.95,
        convention: Convention = "facenet",
        centers: Centers = "ema",
        bias: bool = True,
        label_smoothing: Probability = 0.0,
        sample_rate: SampleRate = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.factor = factor
        self.softmax = Softmax(
            embedding_dim, num_classes, bias=bias, label_smoothing=label_smoothing, sample_rate=sample_rate
        )
        self.term = CenterTerm(embedding_dim, num_classes, alfa=alfa, convention=convention, centers=centers)

    def compute(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """See the class."""
        self.softmax.monitoring = self.term.monitoring = self.monitoring
        softmax = self.softmax.compute(embeddings, labels)
        center = self.term.compute(embeddings, labels)
        weighted = self.factor * center.total
        total = softmax.total + weighted
        parts = {"cross_entropy": softmax.total.detach(), "center_term": weighted.detach()}
        if not self.monitoring:
            return LossOutput(total, parts)
        share = weighted.detach() / total.detach()
        return LossOutput(total, parts, {"center_share": share, **center.monitors, **softmax.monitors})


def _monitors(squares: Tensor, own: Tensor, labels: Tensor) -> dict[str, Tensor]:
    # Half a batch away stands another identity, whether the batch is random or sorted by people.
    offset = len(labels) // 2
    different = labels != labels.roll(offset)
    distances = (own - own.roll(offset, 0)).norm(dim=1)
    return {
        "center_radius": squares.sum(1).sqrt().mean(),
        "center_distance": (distances * different).sum() / different.sum(),  # 0/0 = nan: not defined
    }
