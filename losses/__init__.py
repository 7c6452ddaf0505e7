"""Losses and miners for face-verification embeddings; needs torch and nothing else.

    from losses import Triplet

    loss = Triplet(alpha=0.2, mining="hard")
    output = loss(embeddings, labels)         # raw embeddings (B, D), labels (B,) int64
    output.total.backward()
    output.monitors["active_share"]

Every loss has a name in `LOSSES`, every miner one in `MINERS`.
"""

from losses.center import Center, CenterTerm
from losses.loss import LOSSES, Loss, LossOutput
from losses.mining import MINERS
from losses.softmax import Softmax
from losses.triplet import Triplet

__all__ = ["LOSSES", "MINERS", "Center", "CenterTerm", "Loss", "LossOutput", "Softmax", "Triplet"]
