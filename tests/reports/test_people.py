"""Embedding maps and hardest pairs: the projection, and that no real face is printed."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from reports.faces import Faces, HardPair, plane
from reports.pictures import embedding_map, hardest_pairs


def faces(label: str = "softmax", *, is_rendered: bool = True) -> Faces:
    draw = np.random.default_rng(0)
    people = np.repeat(np.arange(3), 4)
    embeddings = draw.normal(size=(3, 8))[people] + 0.1 * draw.normal(size=(12, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not is_rendered:
        return Faces(label, "lfw", 0, embeddings, people)
    pixels = draw.integers(0, 255, (3, 3, 16, 16), dtype=np.uint8)
    pair = HardPair(pixels[0], pixels[1], 0.25)
    return Faces(label, "rendered", 0, embeddings, people, pixels, (pair,), (pair, pair))


def test_the_plane_is_that_of_principal_components_up_to_sign() -> None:
    embeddings = faces().embeddings
    points, share = plane(embeddings)
    reference = PCA(2, svd_solver="full")
    expected = reference.fit_transform(embeddings)
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-12)
    assert share == pytest.approx(reference.explained_variance_ratio_.sum())


def test_embeddings_that_are_all_one_have_a_plane_all_the_same() -> None:
    points, share = plane(np.ones((4, 8)))
    assert (points.shape, points.any(), share) == ((4, 2), False, 1.0)


def test_rendered_people_are_shown_and_real_ones_are_points_alone() -> None:
    rendered, real = embedding_map([faces()]), embedding_map([faces(is_rendered=False)])
    assert rendered is not None
    assert real is not None
    assert rendered.svg.count(b"<image") == 3
    assert real.svg.count(b"<image") == 0
    assert hardest_pairs([faces(is_rendered=False)]) is None


def test_the_same_faces_give_the_same_bytes() -> None:
    for draw in (embedding_map, hardest_pairs):
        first, second = draw([faces(), faces("center")]), draw([faces(), faces("center")])
        assert first == second
    assert embedding_map([]) is None
