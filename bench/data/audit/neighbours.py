"""The nearest training picture of every test picture, by embedding."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]


def normalized(embeddings: Embeddings) -> Embeddings:
    """Rows of unit norm; a row of zeros stays."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit: Embeddings = embeddings / np.maximum(norms, np.float32(1e-12))
    return unit


def nearest(train: Iterable[Embeddings], test: Embeddings) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Row of the nearest training embedding of each test embedding, and its squared distance.

    Args:
        train: (n, D) at a time, so that a large set is never whole in memory.
        test: (M, D).

    Returns:
        (M,) row, -1 where there is no training embedding; (M,) squared Euclidean distance of unit embeddings,
        0 to 4.
    """
    test = normalized(test)
    best = np.full(len(test), -np.inf, np.float32)
    row = np.full(len(test), -1, np.int64)
    seen = 0
    for block in train:
        similarity = test @ normalized(block).T
        column = similarity.argmax(1)
        value = similarity[np.arange(len(test)), column]
        better = value > best
        best[better], row[better] = value[better], seen + column[better]
        seen += len(block)
    return row, 2.0 - 2.0 * np.clip(best.astype(np.float64), -1.0, 1.0)
