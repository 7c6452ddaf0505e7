"""Crops and five-point alignment against independent formulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import least_squares

from bench.data.align.geometry import TEMPLATE, crop_box, crop_centre, similarity, template, warp


def noise(width: int, height: int, smooth: int = 1) -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (height // smooth, width // smooth, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((30.7, 40.2, 90.9, 99.1), 32, (14, 24, 106, 115)),  # 16 px to each side, truncated
        ((5.0, 2.0, 195.0, 148.0), 44, (0, 0, 200, 150)),  # clipped at the picture
        ((-20.0, -9.0, 60.5, 70.5), 0, (0, 0, 60, 70)),
    ],
)
def test_the_margin_is_facenets_half_a_side_in_pixels_of_the_source(
    box: tuple[float, float, float, float], margin: int, expected: tuple[int, int, int, int]
) -> None:
    image = noise(200, 150)
    # facenet: bb = int32 of max(det - margin / 2, 0) and min(det + margin / 2, size); crop; imresize bilinear
    corners = np.array(
        [
            max(box[0] - margin / 2, 0),
            max(box[1] - margin / 2, 0),
            min(box[2] + margin / 2, 200),
            min(box[3] + margin / 2, 150),
        ]
    ).astype(np.int32)
    assert tuple(corners) == expected
    part = np.asarray(image)[corners[1] : corners[3], corners[0] : corners[2]]
    facenet = Image.fromarray(part).resize((64, 64), Image.Resampling.BILINEAR)
    ours = crop_box(image, box, margin_px=margin, size_px=64)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(facenet))


def test_a_box_outside_of_the_picture_still_gives_a_picture() -> None:
    assert crop_box(noise(20, 20), (30.0, 30.0, 50.0, 50.0), margin_px=0, size_px=16).size == (16, 16)


def test_the_centre_is_a_square_of_the_shorter_side() -> None:
    image = noise(100, 40)
    whole = crop_centre(image, size_px=40, part=1.0)
    np.testing.assert_array_equal(np.asarray(whole), np.asarray(image)[:, 30:70])


def test_the_template_is_scaled_to_the_size() -> None:
    np.testing.assert_allclose(template(112), TEMPLATE)
    np.testing.assert_allclose(template(224), 2 * TEMPLATE)


def test_a_known_similarity_is_recovered_exactly() -> None:
    angle, scale, shift = 0.4, 1.7, np.array([11.0, -3.0])
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = similarity(TEMPLATE, scale * TEMPLATE @ rotation.T + shift)
    np.testing.assert_allclose(matrix, np.column_stack([scale * rotation, shift]), atol=1e-9)


def test_noisy_points_give_the_least_squares_similarity() -> None:
    target = TEMPLATE * 0.8 + np.random.default_rng(1).normal(0, 4, (5, 2))

    def residuals(parameters: np.ndarray) -> np.ndarray:
        a, b, x, y = parameters
        return (TEMPLATE @ np.array([[a, -b], [b, a]]).T + [x, y] - target).ravel()

    a, b, x, y = least_squares(residuals, [1.0, 0.0, 0.0, 0.0]).x
    np.testing.assert_allclose(similarity(TEMPLATE, target), [[a, -b, x], [b, a, y]], atol=1e-5)


def test_mirrored_points_do_not_mirror_the_picture() -> None:
    matrix = similarity(TEMPLATE * [-1, 1], TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_points_without_extent_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="five points in one place, or not finite, give no alignment"):
        similarity(points, TEMPLATE)


def test_warping_agrees_with_torchs_bilinear_sampling() -> None:
    image = noise(80, 60, smooth=4)
    matrix = np.array([[0.9, -0.2, 3.3], [0.2, 0.9, -4.1]])
    ours = np.asarray(warp(image, matrix, size_px=48), float)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    x, y = np.meshgrid(np.arange(48.0), np.arange(48.0))
    source = np.stack([x, y, np.ones_like(x)], -1) @ inverse[:2].T  # centres of pixels at whole numbers
    grid = torch.from_numpy(source / [79 / 2, 59 / 2] - 1)[None]
    pixels = torch.from_numpy(np.asarray(image, float)).permute(2, 0, 1)[None]
    sampled = torch.nn.functional.grid_sample(pixels, grid, align_corners=True)[0].permute(1, 2, 0).numpy()
    inside = (source[..., 0] > 0) & (source[..., 0] < 79) & (source[..., 1] > 0) & (source[..., 1] < 59)
    assert inside.mean() > 0.7
    assert np.abs(ours - sampled)[inside].max() < 1.5
    outside = (source[..., 0] < -1) | (source[..., 1] < -1)
    assert outside.any() and (ours[outside] == 0).all()


@pytest.mark.parametrize("factor", [2, 5])
def test_a_large_picture_is_averaged_and_not_sampled(factor: int) -> None:
    """Fine noise must become grey: bilinear sampling alone would leave noise."""
    image = noise(600, 600)
    shrunk = warp(image, np.array([[1 / factor, 0, 0], [0, 1 / factor, 0.0]]), size_px=100)
    assert np.asarray(shrunk, float).std() < 1.3 * np.asarray(image, float).std() / factor


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_marked_points_land_on_the_template_at_every_scale(factor: int) -> None:
    size = 150 * factor
    picture = np.zeros((size, size, 3), np.uint8)
    points = TEMPLATE[:, ::1] * 0.9 * factor + 10 * factor
    for x, y in points.round().astype(int):
        picture[y - 2 * factor : y + 2 * factor + 1, x - 2 * factor : x + 2 * factor + 1] = 255
    points = points.round()
    face = np.asarray(warp(Image.fromarray(picture), similarity(points, template(112)), size_px=112), float)[
        ..., 0
    ]
    for x, y in template(112):
        rows, columns = np.mgrid[int(y) - 6 : int(y) + 8, int(x) - 6 : int(x) + 8]
        weight = face[rows, columns]
        centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        assert np.abs(centre - [x, y]).max() < 0.8  # the points were rounded by half a pixel


def test_points_far_apart_in_a_small_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="give no alignment"):
        warp(noise(50, 50), np.array([[0.01, 0, 0], [0, 0.01, 0]]), size_px=112)
