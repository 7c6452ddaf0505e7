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

How sure they are: `wilson_intervals`, `bootstrap_intervals`. Which of two models is better: `compare`. Which
threshold to deploy: `find_thresholds`.
"""

from bench.verification.comparison import Comparison, compare, holm, mcnemar
from bench.verification.distances import METRICS, Metric, fold_distances, normalize, pair_distances
from bench.verification.exact import auc, d_prime, det, eer, roc, val_at_far
from bench.verification.facenet import ACCURACY_GRID, VAL_GRID
from bench.verification.hardest import Hardest, find_hardest
from bench.verification.intervals import Interval, bootstrap_intervals, wilson, wilson_intervals
from bench.verification.pairs import distances_under_test, far_key, far_warning
from bench.verification.protocol import Verification, verify
from bench.verification.thresholds import DeployedThreshold, find_thresholds

__all__ = [
    "ACCURACY_GRID",
    "METRICS",
    "VAL_GRID",
    "Comparison",
    "DeployedThreshold",
    "Hardest",
    "Interval",
    "Metric",
    "Verification",
    "auc",
    "bootstrap_intervals",
    "compare",
    "d_prime",
    "det",
    "distances_under_test",
    "eer",
    "far_key",
    "far_warning",
    "find_hardest",
    "find_thresholds",
    "fold_distances",
    "holm",
    "mcnemar",
    "normalize",
    "pair_distances",
    "roc",
    "val_at_far",
    "verify",
    "wilson",
    "wilson_intervals",
]
