"""Every figure of a verification protocol, from distances in folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.verification.exact import Sorted, auc_of, eer_of, val_at_far_of
from bench.verification.facenet import FoldVal, Grid
from bench.verification.pairs import check_fars, check_pairs, far_key, far_warning


@dataclass(frozen=True, slots=True)
class Verification:
    """Figures of one protocol.

    Attributes:
        metrics: by name; `verify` says what each is.
        fold_accuracy: test accuracy of each fold.
        fold_threshold: the threshold each fold was tested at.
        val_facenet: for each FAR, {"val", "val_std", "far"} by facenet's rule.
        val_exact: for each FAR, {"val", "far", "threshold"} by order statistic over all pairs.
        reasons: metric -> why it is nan, or what to know before reading it.
        num_genuine: pairs of one person.
        num_impostor: pairs of two.
        warnings: FAR -> why the impostor pairs are too few to tell it.
    """

    metrics: Mapping[str, float]
    fold_accuracy: tuple[float, ...]
    fold_threshold: tuple[float, ...]
    val_facenet: Mapping[str, Mapping[str, float]]
    val_exact: Mapping[str, Mapping[str, float]]
    reasons: Mapping[str, str]
    num_genuine: int
    num_impostor: int
    warnings: Mapping[str, str]


def verify(
    distances: npt.ArrayLike, same: npt.ArrayLike, fold: npt.ArrayLike, *, fars: Sequence[float] = (1e-3,)
) -> Verification:
    """Compute every figure of a verification protocol.

    A pair is accepted when distance < threshold, compared in float64. Higher is better for accuracy, VAL and
    AUC, lower for EER.

    * `accuracy`: mean over folds of the accuracy on the fold at the threshold of facenet's grid (0 to 4, step
      0.01) that is best on the other folds, the first on ties. `accuracy_std`: standard deviation over folds
      (ddof 0, facenet's +-). `accuracy_se`: standard error of the mean (ddof 1, over sqrt F; LFW's +-).
      `best_threshold`: mean of the folds' thresholds.
    * `val_at_far_X`: mean VAL over folds by facenet's rule (`facenet.Grid`); `val_std` and `far`: its
      standard deviation (ddof 0) and mean test FAR, of the first of `fars`; of the others
      `val_std_at_far_X`, `far_at_far_X`.
    * `val_exact_at_far_X`: VAL at the largest threshold with at most floor(X * impostors) false accepts,
      over all pairs at once (`val_at_far`).
    * `auc`: exact Mann-Whitney, ties one half. `eer`: linear crossing on the exact ROC.

    What is undefined is nan with its reason in `reasons`: all figures with one kind of pair only, VAL where a
    fold has no genuine pairs, FAR where it has no impostors. Where the training folds never reach a FAR on
    the grid, facenet's threshold 0.0 (nothing is accepted) is kept, and `reasons` says so.

    Args:
        distances: finite, >= 0, smaller = more similar. (F, P) when they depend on the fold under test
            (`fold_distances`); the figures over all pairs then take each pair's distance from its own fold.
        same: True for genuine pairs.
        fold: fold of each pair, 0 to F - 1.
        fars: false accept rates to report VAL at, each in (0, 1).

    Shape:
        distances: (P,) or (F, P); same: (P,) bool; fold: (P,) int.

    Raises:
        ValueError: malformed input, in one line.

    Source: G. Huang et al., Labeled Faces in the Wild, UMass Amherst TR 07-49, 2007 (folds, standard error);
    D. Sandberg, facenet, `evaluate` (grids, VAL).

    >>> distances, same = [0.2, 1.4, 0.6, 0.9], [True, False, True, False]
    >>> figures = verify(distances, same, [0, 0, 1, 1], fars=(0.5,))
    >>> figures.fold_accuracy, figures.fold_threshold
    ((1.0, 0.5), (0.61, 0.21))
    """
    fars = check_fars(fars)
    pairs = check_pairs(distances, same, fold)
    num_genuine = int(np.count_nonzero(pairs.same))
    num_impostor = len(pairs.same) - num_genuine
    by_fold = Grid(pairs).figures(fars)
    in_order = Sorted.of(pairs.tested(), pairs.same)
    one_kind = in_order.missing()

    metrics: dict[str, float] = {
        "accuracy": _mean(by_fold.accuracy),
        "accuracy_std": float(np.std(by_fold.accuracy)),
        "accuracy_se": float(np.std(by_fold.accuracy, ddof=1)) / math.sqrt(pairs.num_folds),
        "best_threshold": _mean(by_fold.threshold),
    }
    reasons: dict[str, str] = {}
    val_facenet: dict[str, dict[str, float]] = {}
    val_exact: dict[str, dict[str, float]] = {}
    for index, (far, val) in enumerate(zip(fars, by_fold.val, strict=True)):
        key = far_key(far)
        figures = {"val": _mean(val.val), "val_std": float(np.std(val.val)), "far": _mean(val.far)}
        names = {
            "val": f"val_at_far_{key}",
            "val_std": f"val_std_at_far_{key}" if index else "val_std",
            "far": f"far_at_far_{key}" if index else "far",
        }
        exact = val_at_far_of(in_order, far)
        val_facenet[key], val_exact[key] = figures, exact._asdict()
        metrics |= {names[figure]: value for figure, value in figures.items()}
        metrics[f"val_exact_at_far_{key}"] = exact.val
        if not one_kind:
            reasons |= {names[figure]: reason for figure, reason in _val_reasons(val, key).items()}
    metrics |= {"auc": auc_of(in_order), "eer": eer_of(in_order)}
    if one_kind:
        metrics = dict.fromkeys(metrics, math.nan)
        val_facenet = {key: dict.fromkeys(figures, math.nan) for key, figures in val_facenet.items()}
        reasons = dict.fromkeys(metrics, one_kind)
    return Verification(
        metrics,
        tuple(by_fold.accuracy.tolist()),
        tuple(by_fold.threshold.tolist()),
        val_facenet,
        val_exact,
        reasons,
        num_genuine,
        num_impostor,
        {far_key(far): warning for far in fars if (warning := far_warning(far, num_impostor))},
    )


def _val_reasons(val: FoldVal, key: str) -> dict[str, str]:
    """Why VAL, its deviation or its FAR is nan or 0."""
    untrained = np.flatnonzero(np.isnan(val.threshold))
    if len(untrained):
        reason = f"no impostor pairs outside {_folds(untrained)}, so there is no threshold"
        return {"val": reason, "val_std": reason, "far": reason}
    reasons = {}
    without_genuine, without_impostor = np.flatnonzero(np.isnan(val.val)), np.flatnonzero(np.isnan(val.far))
    if len(without_genuine):
        reasons["val"] = reasons["val_std"] = f"no genuine pairs in {_folds(without_genuine)}"
    elif val.unreached:
        reasons["val"] = (
            f"training pairs for {_folds(np.array(val.unreached))} never reach FAR {key} below distance 4; "
            "facenet's threshold 0.0 accepts nothing there"
        )
    if len(without_impostor):
        reasons["far"] = f"no impostor pairs in {_folds(without_impostor)}"
    return reasons


def _folds(folds: npt.NDArray[np.intp]) -> str:
    listed = ", ".join(map(str, folds[:5])) + (f" and {len(folds) - 5} more" if len(folds) > 5 else "")
    return f"{'fold' if len(folds) == 1 else 'folds'} {listed}"


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(np.mean(values))
