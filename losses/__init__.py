"""Losses and miners for face-verification embeddings; needs torch and nothing else.

    from losses import Triplet

    loss = Triplet(alpha=0.2, mining="hard")
    output = loss(embeddings, labels)         # raw embeddings (B, D), labels (B,) int64
    output.total.backward()
    output.monitors["active_share"]

Every loss has a name in `LOSSES`, every miner one in `MINERS`.
"""

from losses.adaface import AdaFace
from losses.arcface import ArcFace
from losses.center import Center, CenterTerm
from losses.combined_margin import CombinedMargin
from losses.cosface import CosFace
from losses.loss import LOSSES, Loss, LossOutput
from losses.mining import MINERS
from losses.norm_softmax import NormSoftmax
from losses.softmax import Softmax
from losses.sphereface import SphereFace
from losses.triplet import Triplet

__all__ = [
    "LOSSES",
    "MINERS",
    "AdaFace",
    "ArcFace",
    "Center",
    "CenterTerm",
    "CombinedMargin",
    "CosFace",
    "Loss",
    "LossOutput",
    "NormSoftmax",
    "Softmax",
    "SphereFace",
    "Triplet",
]
