"""Time of the verification protocol beside facenet's semantics written plainly, in one run.

    pytest tests/speed/test_verification_speed.py --benchmark-enable --benchmark-group-by=group

Each group does the same work; only ratios within it mean anything. No test asserts a time.
"""

from __future__ import annotations

import numpy as np
import pytest

from bench.verification import auc, bootstrap_intervals, fold_distances, normalize, pair_distances, verify

NUM_FOLDS = 10


def _embeddings(
    num_pairs: int, dimension: int = 512
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Left, right, same, fold of a model that errs in a few percent of the pairs."""
    draw = np.random.default_rng(0)
    same = np.arange(num_pairs) % 2 == 0
    left = draw.standard_normal((num_pairs, dimension), dtype=np.float32)
    right = draw.standard_normal((num_pairs, dimension), dtype=np.float32)
    likeness = draw.uniform(0.05, 1.5, (num_pairs, 1)).astype(np.float32)
    right = np.where(same[:, None], likeness * left + right, right)
    return normalize(left), normalize(right), same, np.arange(num_pairs) * NUM_FOLDS // num_pairs


def _distances(num_pairs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    same = np.arange(num_pairs) % 2 == 0
    distances = draw.standard_normal(num_pairs)
    distances *= 0.2
    distances += np.where(same, 0.8, 1.6)
    np.abs(distances, out=distances)
    return distances, same, np.arange(num_pairs) * NUM_FOLDS // num_pairs


def _plain_facenet(left, right, same, fold) -> tuple[float, float, float]:
    """facenet's evaluation: for each fold, count again at every threshold (accuracy, VAL, FAR at 1e-3).

    Takes within a tenth of the time of the published code with its interpolation replaced by np.interp.
    """
    distances = np.sum(np.square(np.subtract(left, right)), 1).astype(np.float64)
    accuracy_thresholds, val_thresholds = np.arange(0, 4, 0.01), np.arange(0, 4, 0.001)
    accuracies, vals, fars = [], [], []
    for index in range(NUM_FOLDS):
        train, test = fold != index, fold == index
        train_accuracies = [_counts(distances[train], same[train], t)[2] for t in accuracy_thresholds]
        # facenet also takes the ROC of the test fold, for its figure
        for threshold in accuracy_thresholds:
            _counts(distances[test], same[test], threshold)
        best = accuracy_thresholds[np.argmax(train_accuracies)]
        accuracies.append(_counts(distances[test], same[test], best)[2])
        train_fars = np.array([_counts(distances[train], same[train], t)[1] for t in val_thresholds])
        threshold = np.interp(1e-3, train_fars, val_thresholds) if train_fars.max() >= 1e-3 else 0.0
        val, far, _ = _counts(distances[test], same[test], threshold)
        vals.append(val)
        fars.append(far)
    return float(np.mean(accuracies)), float(np.mean(vals)), float(np.mean(fars))


def _counts(distances, same, threshold) -> tuple[float, float, float]:
    accepted = np.less(distances, threshold)
    true_accepts = np.sum(np.logical_and(accepted, same))
    false_accepts = np.sum(np.logical_and(accepted, np.logical_not(same)))
    true_rejects = np.sum(np.logical_and(np.logical_not(accepted), np.logical_not(same)))
    num_genuine, num_impostor = np.sum(same), np.sum(np.logical_not(same))
    return (
        float(true_accepts) / float(num_genuine),
        float(false_accepts) / float(num_impostor),
        float(true_accepts + true_rejects) / distances.size,
    )


def _ours(left, right, same, fold) -> tuple[float, float, float]:
    metrics = verify(pair_distances(left, right), same, fold).metrics
    return metrics["accuracy"], metrics["val_at_far_1e-3"], metrics["far"]


@pytest.mark.benchmark(group="6,000 pairs x 512")
def test_plain_facenet_on_lfws_size(benchmark) -> None:
    embeddings = _embeddings(6000)
    figures = benchmark.pedantic(_plain_facenet, embeddings, rounds=3, iterations=1)
    assert figures == _ours(*embeddings)


@pytest.mark.benchmark(group="6,000 pairs x 512")
def test_verify_on_lfws_size(benchmark) -> None:
    accuracy, _, _ = benchmark(_ours, *_embeddings(6000))
    assert 0.9 < accuracy < 1


@pytest.mark.benchmark(group="6,000 pairs x 512")
def test_verify_with_subtracted_means_on_lfws_size(benchmark) -> None:
    left, right, same, fold = _embeddings(6000)
    figures = benchmark(lambda: verify(fold_distances(left, right, fold, metric="angle"), same, fold))
    assert 0.9 < figures.metrics["accuracy"] < 1


@pytest.mark.benchmark(group="6,000 distances")
def test_verify_given_lfws_distances(benchmark) -> None:
    assert 0.9 < benchmark(verify, *_distances(6000)).metrics["accuracy"] < 1


@pytest.mark.benchmark(group="600,000 distances")
def test_verify_given_600_000_distances(benchmark) -> None:
    assert 0.9 < benchmark(verify, *_distances(600_000)).metrics["accuracy"] < 1


@pytest.mark.benchmark(group="AUC of 600,000 distances")
def test_auc_of_600_000_distances(benchmark) -> None:
    distances, same, _ = _distances(600_000)
    assert 0.9 < benchmark(auc, distances, same) < 1


@pytest.mark.benchmark(group="AUC of 600,000 distances")
def test_scikit_learns_auc_of_600_000_distances(benchmark) -> None:
    from sklearn.metrics import roc_auc_score

    distances, same, _ = _distances(600_000)
    assert benchmark(roc_auc_score, same, -distances) == pytest.approx(auc(distances, same), abs=1e-12)


@pytest.mark.benchmark(group="10,000,000 distances")
def test_verify_given_ten_million_distances(benchmark) -> None:
    pairs = _distances(10_000_000)
    assert 0.9 < benchmark.pedantic(verify, pairs, rounds=3, iterations=1).metrics["accuracy"] < 1


@pytest.mark.benchmark(group="100 bootstrap replicates of 6,000 pairs")
def test_bootstrap_of_lfws_size(benchmark) -> None:
    pairs = _distances(6000)
    intervals = benchmark.pedantic(bootstrap_intervals, pairs, {"replicates": 100}, rounds=3, iterations=1)
    assert intervals["accuracy"].low < intervals["accuracy"].high
