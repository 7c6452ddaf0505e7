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
from losses.classes import Classes
from losses.collapse import collapse_warning
from losses.combined_margin import CombinedMargin
from losses.contrastive import Contrastive
from losses.cosface import CosFace
from losses.families import Family
from losses.loss import LOSSES, Loss, LossOutput
from losses.memory import CrossBatchMemory
from losses.mining import MINERS
from losses.multi_similarity import MultiSimilarity
from losses.norm_softmax import NormSoftmax
from losses.pml import PmlLoss
from losses.prelogits_norm import PrelogitsNorm
from losses.registry import Choice
from losses.softmax import Softmax
from losses.sources import Source, source
from losses.sphereface import SphereFace
from losses.sum import Sum, Term
from losses.sup_con import InfoNce, SupCon
from losses.triplet import Triplet

__all__ = [
    "LOSSES",
    "MINERS",
    "AdaFace",
    "ArcFace",
    "Center",
    "CenterTerm",
    "Choice",
    "Classes",
    "CombinedMargin",
    "Contrastive",
    "CosFace",
    "CrossBatchMemory",
    "Family",
    "InfoNce",
    "Loss",
    "LossOutput",
    "MultiSimilarity",
    "NormSoftmax",
    "PmlLoss",
    "PrelogitsNorm",
    "Softmax",
    "Source",
    "SphereFace",
    "Sum",
    "SupCon",
    "Term",
    "Triplet",
    "collapse_warning",
    "source",
]
