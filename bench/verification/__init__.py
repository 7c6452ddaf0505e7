"""Face-verification metrics: the LFW protocol to facenet's digits, exact figures, how sure they are.

Needs numpy and nothing else. Three conventions hold everywhere:

* a distance is finite and >= 0, and smaller means more similar;
* a pair is accepted as one person when `distance < threshold`, strictly, compared in float64;
* FAR is the share of impostor pairs accepted (FMR and FPR elsewhere), VAL the share of genuine pairs
  accepted (TAR, TMR, TPR elsewhere).

From embeddings to figures:

    left, right = normalize(left), normalize(right)
    figures = verify(pair_distances(left, right), same, fold, fars=(1e-2, 1e-3))
    figures.metrics["accuracy"], figures.metrics["val_at_far_1e-3"], figures.reasons
"""

from bench.verification.distances import METRICS, Metric, fold_distances, normalize, pair_distances
from bench.verification.exact import auc, eer, roc, val_at_far
from bench.verification.facenet import ACCURACY_GRID, VAL_GRID
from bench.verification.pairs import far_key
from bench.verification.protocol import Verification, verify

__all__ = [
    "ACCURACY_GRID",
    "METRICS",
    "VAL_GRID",
    "Metric",
    "Verification",
    "auc",
    "eer",
    "far_key",
    "fold_distances",
    "normalize",
    "pair_distances",
    "roc",
    "val_at_far",
    "verify",
]
