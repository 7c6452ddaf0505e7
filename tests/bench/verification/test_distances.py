"""Distances of pairs and the subtraction of the mean, against one pair at a time in plain Python."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from bench.verification import METRICS, fold_distances, normalize, pair_distances, verify


def _embeddings(seed: int, num_pairs: int, dimension: int = 16) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(num_pairs, dimension)), draw.normal(size=(num_pairs, dimension))


def _plain(a: np.ndarray, b: np.ndarray, metric: str) -> float:
    if metric.endswith("euclidean"):
        square = math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True))
        return square if metric == "sqeuclidean" else math.sqrt(square)
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    cosine = dot / math.sqrt(math.fsum(x * x for x in a)) / math.sqrt(math.fsum(y * y for y in b))
    return 1 - cosine if metric == "cosine" else math.acos(max(-1.0, min(1.0, cosine))) / math.pi


@pytest.mark.parametrize("metric", METRICS)
def test_every_pair_equals_plain_python(metric) -> None:
    left, right = _embeddings(0, 1100)  # three chunks of rows
    expected = [_plain(a, b, metric) for a, b in zip(left, right, strict=True)]
    np.testing.assert_allclose(pair_distances(left, right, metric=metric), expected, rtol=1e-12, atol=1e-14)


def test_float32_distances_are_facenets_bits() -> None:
    left, right = (normalize(side.astype(np.float32)) for side in _embeddings(1, 1100, 512))
    facenet = np.sum(np.square(np.subtract(left, right)), 1)
    assert facenet.dtype == np.float32
    np.testing.assert_array_equal(pair_distances(left, right), facenet.astype(np.float64))


def test_float32_angles_are_facenets_bits() -> None:
    left, right = (normalize(side.astype(np.float32)) for side in _embeddings(2, 1100, 512))
    norm = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    facenet = np.arccos(np.sum(np.multiply(left, right), axis=1) / norm) / math.pi
    np.testing.assert_array_equal(pair_distances(left, right, metric="angle"), facenet.astype(np.float64))


def test_an_angle_with_itself_is_zero_and_never_nan() -> None:
    left = normalize(_embeddings(3, 500, 7)[0].astype(np.float32))
    for metric in ("cosine", "angle"):
        distances = pair_distances(left, left, metric=metric)
        assert (distances >= 0).all()
        assert (distances < 1e-3).all()
        assert (pair_distances(left, -left, metric=metric) > 0.999).all()


def test_cosine_and_angle_ignore_the_norms() -> None:
    left, right = _embeddings(4, 20)
    for metric in ("cosine", "angle"):
        np.testing.assert_allclose(
            pair_distances(3 * left, 0.1 * right, metric=metric), pair_distances(left, right, metric=metric)
        )


def test_unit_rows_keep_type_and_direction() -> None:
    embeddings = _embeddings(5, 30)[0]
    for kind in (np.float32, np.float64):
        unit = normalize(embeddings.astype(kind))
        assert unit.dtype == kind
        np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(
            np.sum(unit * embeddings, axis=1), np.linalg.norm(embeddings, axis=1), rtol=1e-5
        )
    assert normalize(embeddings.astype(np.float16)).dtype == np.float32
    assert normalize([[3, 4]]).tolist() == [[0.6, 0.8]]


def test_norms_far_from_one_neither_overflow_nor_vanish() -> None:
    for scale in (1e-30, 1e30):
        unit = normalize(np.array([[3 * scale, 4 * scale]], dtype=np.float32))
        np.testing.assert_allclose(unit, [[0.6, 0.8]], rtol=1e-6)


def _subtract_mean_by_loop(left, right, fold, metric) -> np.ndarray:
    rows = []
    for index in range(max(fold) + 1):
        training = [side[pair] for pair in range(len(fold)) if fold[pair] != index for side in (left, right)]
        mean = np.mean(training, axis=0)
        rows.append([_plain(a - mean, b - mean, metric) for a, b in zip(left, right, strict=True)])
    return np.array(rows)


@pytest.mark.parametrize("metric", METRICS)
def test_each_fold_subtracts_the_mean_of_the_other_folds_with_multiplicity(metric) -> None:
    images = normalize(_embeddings(6, 40)[0])
    draw = np.random.default_rng(7)
    # few images, many pairs: images repeat, and repeat unequally
    left, right = images[draw.integers(0, 15, 90)], images[draw.integers(10, 40, 90)]
    fold = np.sort(np.concatenate([np.arange(5), draw.integers(0, 5, 85)]))
    distances = fold_distances(left, right, fold, metric=metric)
    assert distances.shape == (5, 90)
    # two embeddings that are one: arccos turns 1e-16 of the cosine into 1e-8 of the angle
    expected = _subtract_mean_by_loop(left, right, fold, metric)
    np.testing.assert_allclose(distances, expected, rtol=1e-10, atol=1e-8 if metric == "angle" else 1e-10)


def test_means_differ_by_fold_only_where_they_matter() -> None:
    left, right = (normalize(side) for side in _embeddings(8, 60))
    fold = np.arange(60) // 6
    euclidean = fold_distances(left, right, fold, metric="sqeuclidean")
    np.testing.assert_array_equal(euclidean, np.tile(pair_distances(left, right), (10, 1)))
    cosine = fold_distances(left, right, fold, metric="cosine")
    assert (np.abs(cosine[0] - cosine[1]) > 1e-6).any()


def test_nearly_collapsed_embeddings_keep_their_digits() -> None:
    # all embeddings within 1e-6 of one point: (a - m)(b - m) from plain dot products would lose 12 digits
    draw = np.random.default_rng(9)
    point = normalize(draw.normal(size=(1, 16)))
    left, right = point + 1e-6 * draw.normal(size=(50, 16)), point + 1e-6 * draw.normal(size=(50, 16))
    fold = np.arange(50) % 5
    np.testing.assert_allclose(
        fold_distances(left, right, fold, metric="cosine"),
        _subtract_mean_by_loop(left, right, fold, "cosine"),
        rtol=1e-6,
    )


def test_verify_takes_fold_distances_as_they_are() -> None:
    left, right = (normalize(side) for side in _embeddings(10, 80))
    same, fold = np.arange(80) % 2 == 0, np.arange(80) // 8
    by_fold = verify(fold_distances(left, right, fold), same, fold)
    assert by_fold == verify(pair_distances(left, right), same, fold)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ([1.0, 2.0], "embeddings must be real numbers of shape (N, D), but got float64 (2,)"),
        ([["a"]], "embeddings must be real numbers of shape (N, D), but got <U1 (1, 1)"),
        (np.zeros((2, 0)), "embeddings must be real numbers of shape (N, D), but got float64 (2, 0)"),
        ([[1.0], [np.nan]], "embeddings must be finite, but row 1 is not"),
        ([[np.inf], [1.0]], "embeddings must be finite, but row 0 is not"),
        ([[1.0, 0.0], [0.0, 0.0]], "an embedding of norm 0 has no direction: row 1"),
    ],
)
def test_embeddings_without_a_direction_are_refused(embeddings, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        normalize(embeddings)


def test_pairs_that_cannot_be_compared_are_refused() -> None:
    one = [[1.0, 0.0]]
    with pytest.raises(ValueError, match=r"^left and right must have one shape .* \(1, 2\) and \(1, 3\)$"):
        pair_distances(one, [[1.0, 0.0, 0.0]])
    with pytest.raises(
        ValueError, match=r"^unknown metric 'l2'; there are sqeuclidean, euclidean, cosine, angle$"
    ):
        pair_distances(one, one, metric="l2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^embeddings must be finite, but pair 0 is not$"):
        pair_distances(one, [[np.nan, 0.0]])
    with pytest.raises(ValueError, match=r"^an embedding of norm 0 has no direction: pair 1$"):
        pair_distances([[1.0, 0.0]] * 2, [[1.0, 0.0], [0.0, 0.0]], metric="cosine")
    with pytest.raises(ValueError, match=r"^an embedding of norm 0 has no direction: pair 0$"):
        fold_distances(one * 4, one * 4, [0, 0, 1, 1], metric="angle")  # equal to their mean
    with pytest.raises(ValueError, match="at least 2 folds"):
        fold_distances(one, one, [0], metric="angle")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_values_that_are_not_finite_name_their_pair_and_raise_no_warning(metric, wrong: float) -> None:
    left, right = _embeddings(11, 600)
    left[555, 3] = wrong
    with pytest.raises(ValueError, match=r"^embeddings must be finite, but pair 555 is not$"):
        pair_distances(left, right, metric=metric)
    with pytest.raises(ValueError, match=r"^embeddings must be finite, but pair 555 is not$"):
        fold_distances(left, right, np.arange(600) % 2, metric=metric)


@pytest.mark.parametrize("metric", METRICS)
def test_distances_that_overflow_are_refused(metric) -> None:
    left, right = _embeddings(11, 600)
    left[555, 3] = 1e200
    with pytest.raises(ValueError, match=r"^embeddings must be finite, but pair 555 is not$"):
        pair_distances(left, right, metric=metric)
