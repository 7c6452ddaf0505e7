"""Distances of pairs of embeddings; smaller means more similar."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from bench.verification.pairs import check_folds

Float = npt.NDArray[np.floating]
Metric = Literal["sqeuclidean", "euclidean", "cosine", "angle"]
METRICS: tuple[Metric, ...] = get_args(Metric)

# rows at a time: 512 x 512 float32 is 1 MiB, which stays in a core's second-level cache
_ROWS = 512


def normalize(embeddings: npt.ArrayLike) -> Float:
    """Divide every embedding by its Euclidean norm.

    The norm is taken in float64; float32 and float64 keep their type, anything else becomes float64
    (float16: float32).

    Shape:
        embeddings: (N, D); returns (N, D) of unit rows.

    Raises:
        ValueError: not two-dimensional, a value that is not finite, or a row of zeros.

    >>> normalize([[3.0, 4.0], [0.0, -2.0]]).tolist()
    [[0.6, 0.8], [0.0, -1.0]]
    """
    rows = _as_rows(embeddings, "embeddings")
    norm = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    _refuse(~np.isfinite(norm), "embeddings must be finite, but row {row} is not")
    _refuse(norm == 0, "an embedding of norm 0 has no direction: row {row}")
    unit = np.empty_like(rows)
    np.divide(rows, norm[:, None], out=unit, casting="same_kind")
    return unit


def pair_distances(
    left: npt.ArrayLike, right: npt.ArrayLike, *, metric: Metric = "sqeuclidean"
) -> npt.NDArray[np.float64]:
    """Distance of every pair of rows, in facenet's order of operations and the embeddings' own precision.

    sqeuclidean = |a - b|^2; euclidean = |a - b|; cosine = 1 - cos(a, b); angle = arccos(cos(a, b)) / pi.

    Nothing is normalised here (see `normalize`); cosine and angle do not depend on the norms. The cosine is
    clipped to [-1, 1], so that rounding never gives the nan that facenet counts as "different".

    Args:
        left: one embedding of each pair.
        right: the other one.
        metric: which distance; the angle is in units of pi (0 to 1).

    Shape:
        left, right: (P, D); returns (P,) float64.

    Raises:
        ValueError: shapes differ, a value is not finite, an unknown metric, or a norm of 0 under cosine or
            angle.

    >>> pair_distances([[1.0, 0.0], [0.6, 0.8]], [[0.0, 1.0], [0.6, 0.8]]).tolist()
    [2.0, 0.0]
    >>> pair_distances([[1.0, 0.0]], [[0.0, 1.0]], metric="angle").tolist()
    [0.5]
    """
    _check_metric(metric)
    a, b = _as_pairs(left, right)
    distances = np.empty(len(a), dtype=np.float64)
    # inf - inf and the like are refused by name below, so numpy need not warn
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(a), _ROWS):
            rows = slice(start, start + _ROWS)
            if metric in ("sqeuclidean", "euclidean"):
                difference = np.subtract(a[rows], b[rows])
                distances[rows] = np.sum(np.square(difference, out=difference), axis=1)
            else:
                dot = np.sum(np.multiply(a[rows], b[rows]), axis=1)
                left_norm, right_norm = (np.sqrt(np.sum(np.square(side[rows]), axis=1)) for side in (a, b))
                distances[rows] = _from_cosine(dot, left_norm * right_norm, metric, start)
    if metric == "euclidean":
        np.sqrt(distances, out=distances)
    _refuse(~np.isfinite(distances), "embeddings must be finite, but pair {row} is not")
    return distances


def fold_distances(
    left: npt.ArrayLike, right: npt.ArrayLike, fold: npt.ArrayLike, *, metric: Metric = "sqeuclidean"
) -> npt.NDArray[np.float64]:
    """Distances after subtracting the mean embedding, which differs by fold (facenet's `subtract_mean`).

    Row f holds the distances for testing fold f: from both sides of every pair is subtracted the mean over
    both sides of the pairs of all other folds, an image counting as often as pairs use it. The result is not
    normalised again. The mean cancels in a difference, so under sqeuclidean and euclidean all rows are one
    (a read-only view of `pair_distances`).

    Under cosine and angle all folds come from one pass in float64: with the embeddings shifted by their
    overall mean, (a - m)(b - m) = ab - am - bm + mm needs one matrix product with the F means.

    Shape:
        left, right: (P, D), normalised already; fold: (P,) int; returns (F, P) float64.

    Raises:
        ValueError: as `pair_distances`, and fold numbers that are not 0 to F - 1 with F >= 2.

    >>> left, right = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, -1.0]]
    >>> fold_distances(left, right, [0, 1], metric="cosine").round(3).tolist()
    [[1.0, 2.0], [2.0, 1.447]]
    """
    _check_metric(metric)
    a, b = _as_pairs(left, right)
    folds, num_folds = check_folds(fold, len(a))
    if metric in ("sqeuclidean", "euclidean"):
        return np.broadcast_to(pair_distances(a, b, metric=metric), (num_folds, len(a)))
    # one value that is not finite would spread over the means to every pair
    finite = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    _refuse(~finite, "embeddings must be finite, but pair {row} is not")
    distances = np.empty((num_folds, len(a)), dtype=np.float64)
    # as in `pair_distances`
    with np.errstate(invalid="ignore", over="ignore"):
        overall, means = _means(a, b, folds, num_folds)
        mean_squares = np.sum(np.square(means), axis=1)
        for start in range(0, len(a), _ROWS):
            rows = slice(start, start + _ROWS)
            # small numbers after the shift: no cancellation even when all embeddings lie close together
            x, y = a[rows] - overall, b[rows] - overall
            x_means, y_means = x @ means.T, y @ means.T
            dot = np.sum(x * y, axis=1)[:, None] - x_means - y_means + mean_squares
            x_squares = np.sum(np.square(x), axis=1)[:, None] - 2 * x_means + mean_squares
            y_squares = np.sum(np.square(y), axis=1)[:, None] - 2 * y_means + mean_squares
            norm = np.sqrt(np.maximum(x_squares, 0)) * np.sqrt(np.maximum(y_squares, 0))
            distances[:, rows] = _from_cosine(dot, norm, metric, start).T
    _refuse(~np.isfinite(distances).all(axis=0), "embeddings must be finite, but pair {row} is not")
    return distances


def _means(
    a: Float, b: Float, folds: npt.NDArray[np.intp], num_folds: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean over everything, and each fold's training mean relative to it: (D,), (F, D)."""
    sums = np.zeros((num_folds, a.shape[1]))
    for start in range(0, len(a), _ROWS):
        rows = slice(start, start + _ROWS)
        membership = (folds[rows] == np.arange(num_folds)[:, None]).astype(np.float64)
        sums += membership @ np.add(a[rows], b[rows], dtype=np.float64)
    sizes = np.bincount(folds, minlength=num_folds)
    overall = sums.sum(axis=0) / (2 * len(a))
    training = (sums.sum(axis=0) - sums) / (2 * (len(a) - sizes))[:, None]
    return overall, training - overall


def _from_cosine(dot: Float, norm: Float, metric: Metric, start: int) -> Float:
    directionless = np.equal(norm, 0).reshape(len(norm), -1).any(axis=1)
    _refuse(directionless, "an embedding of norm 0 has no direction: pair {row}", start)
    # a norm that overflows would divide everything to 0; nan is refused by the caller
    cosine = np.clip(dot / np.where(np.isfinite(norm), norm, np.nan), -1.0, 1.0)
    return 1.0 - cosine if metric == "cosine" else np.arccos(cosine) / math.pi


def _as_rows(values: npt.ArrayLike, name: str) -> Float:
    rows = np.asarray(values)
    if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be real numbers of shape (N, D), but got {rows.dtype} {rows.shape}")
    if rows.dtype not in (np.float32, np.float64):
        rows = rows.astype(np.float32 if rows.dtype == np.float16 else np.float64)
    return rows


def _as_pairs(left: npt.ArrayLike, right: npt.ArrayLike) -> tuple[Float, Float]:
    a, b = _as_rows(left, "left"), _as_rows(right, "right")
    if a.shape != b.shape:
        raise ValueError(f"left and right must have one shape (P, D), but got {a.shape} and {b.shape}")
    return a, b


def _check_metric(metric: str) -> None:
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}; there are {', '.join(METRICS)}")


def _refuse(wrong: npt.ArrayLike, message: str, start: int = 0) -> None:
    """Raise about the first row that is wrong."""
    if np.any(wrong):
        raise ValueError(message.format(row=start + int(np.argmax(wrong))))
