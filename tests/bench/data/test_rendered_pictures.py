"""Pictures of rendered people: which bytes they have, and what tells people apart."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from bench.data.rendered.geometry import bump, crop, inside, look, ramp, wave
from bench.data.rendered.identity import OUTLINE_HEIGHTS, draw_identities
from bench.data.rendered.nuisance import draw_nuisance
from bench.data.rendered.render import render
from bench.data.rendered.streams import Columns, Purpose, Split, stream

PEOPLE = np.repeat(np.arange(9), 3)
IMAGES = np.tile(np.arange(3), 9)


def draw(people=PEOPLE, images=IMAGES, *, seed=0, split=Split.TRAIN, size_px=32, **options):
    return render(seed, split, people, images, size_px=size_px, **options)


@pytest.mark.parametrize("size_px", [16, 33, 64])
@pytest.mark.parametrize("chunk_pixels", [1, 5_000, 60_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_bytes_depend_neither_on_chunks_nor_on_threads(size_px, chunk_pixels, threads):
    expected = draw(size_px=size_px, threads=1)
    np.testing.assert_array_equal(draw(size_px=size_px, threads=threads, chunk_pixels=chunk_pixels), expected)


def test_bytes_do_not_depend_on_torch_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = draw(chunk_pixels=200_000)
        torch.set_num_threads(2)
        np.testing.assert_array_equal(draw(chunk_pixels=200_000), expected)
    finally:
        torch.set_num_threads(before)


def test_another_process_draws_the_same_bytes():
    script = (
        "import hashlib, numpy as np\n"
        "from bench.data.rendered.render import render\n"
        "from bench.data.rendered.streams import Split\n"
        "drawn = render(3, Split.TEST, np.arange(5), np.arange(5), size_px=48)\n"
        "print(hashlib.sha256(drawn.tobytes()).hexdigest())\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    here = render(3, Split.TEST, np.arange(5), np.arange(5), size_px=48)
    assert other.stdout.strip() == hashlib.sha256(here.tobytes()).hexdigest()


def test_a_picture_does_not_depend_on_what_else_is_drawn():
    everything = draw()
    alone = draw(np.array([4]), np.array([2]))
    np.testing.assert_array_equal(alone[0], everything[4 * 3 + 2])


def test_seed_split_person_and_image_each_change_the_picture():
    one = draw(np.array([1]), np.array([1]))
    for other in (
        draw(np.array([1]), np.array([1]), seed=1),
        draw(np.array([1]), np.array([1]), split=Split.TEST),
        draw(np.array([2]), np.array([1])),
        draw(np.array([1]), np.array([2])),
    ):
        assert np.mean(one != other) > 0.5


def test_streams_of_neighbours_share_no_number():
    streams = [
        stream(seed, split, purpose, identity, image)
        for seed in (0, 1)
        for split in Split
        for purpose in Purpose
        for identity in (0, 1)
        for image in (0, 1)
    ]
    numbers = np.concatenate([generator.random(50) for generator in streams])
    assert len(np.unique(numbers)) == len(numbers)


def test_spread_scales_ranges_around_their_middle_but_not_choices():
    def columns(spread):
        return Columns((stream(0, Split.TRAIN, Purpose.IDENTITY, person) for person in range(200)), 6, spread)

    wide, narrow = columns(1.0), columns(0.5)
    uniform = wide.uniform(2.0, 4.0)
    assert uniform.min() >= 2.0 and uniform.max() <= 4.0 and 2.9 < uniform.mean() < 3.1
    np.testing.assert_allclose(narrow.uniform(2.0, 4.0) - 3.0, 0.5 * (uniform - 3.0))
    bell = wide.bell(-1.0, 1.0)
    assert 0.28 < bell.std() < 0.39  # (high - low) / 6
    np.testing.assert_allclose(narrow.bell(-1.0, 1.0), 0.5 * bell)
    np.testing.assert_array_equal(narrow.chance(0.3), wide.chance(0.3))


def test_no_two_of_many_people_are_alike():
    people = draw_identities(0, Split.TRAIN, np.arange(600))
    table = np.stack(list(people.values()), axis=1)
    assert np.isfinite(table).all()
    table = (table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-9)
    squares = np.sum(table**2, axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * table @ table.T, 0.0))
    np.fill_diagonal(distance, np.inf)
    # Strangers are sqrt(2 x columns) apart on average; the closest two of 180,000 pairs half of that.
    assert distance.min() > 0.5 * np.sqrt(2 * table.shape[1])


def test_outlines_pass_through_their_widths_and_have_no_hole():
    people = draw_identities(0, Split.TRAIN, np.arange(600))
    t = np.linspace(-0.99, 0.99, 199)
    coefficients = np.stack([people[f"outline_{k}"] for k in range(4)], axis=1)
    squared = (1 - t**2) * (coefficients @ t ** np.arange(4)[:, None])
    assert squared.min() > 0.0
    at_eyes = np.argmin(np.abs(t - OUTLINE_HEIGHTS[1]))
    np.testing.assert_allclose(np.sqrt(squared[:, at_eyes]), people["width"], rtol=1e-6)


def test_a_person_is_closer_to_themself_than_to_others_in_plain_pictures():
    """Without nuisance on the face, the nearest other picture by pixels mostly shows the same person."""
    people, images = np.repeat(np.arange(60), 2), np.tile(np.arange(2), 60)
    pictures = draw(people, images, difficulty=0.0, size_px=48)
    # The head, without the wall that differs in every picture.
    head = pictures[:, :, 10:38, 15:33].reshape(len(people), -1).astype(np.float64)
    distance = np.linalg.norm(head[:, None] - head[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert np.mean(people[distance.argmin(axis=1)] == people) > 0.95


def test_difficulty_scales_the_nuisance():
    people, images = np.zeros(300, np.int64), np.arange(300)
    plain, usual, hard = (
        draw_nuisance(0, Split.TRAIN, people, images, strength=strength) for strength in (0.0, 1.0, 1.5)
    )
    for name in ("sin_yaw", "sin_roll", "shift_x", "light_x", "smile"):
        assert plain[name].std() < 1e-9 < 0.01 < usual[name].std() < hard[name].std(), name
    assert plain["glasses"].sum() == 0 < usual["glasses"].sum() < hard["glasses"].sum()


def test_pictures_use_the_range_and_are_neither_black_nor_white():
    pictures = draw(np.arange(80), np.zeros(80, np.int64), size_px=24)
    assert pictures.dtype == np.uint8 and pictures.shape == (80, 3, 24, 24)
    means = pictures.mean(axis=(1, 2, 3))
    assert means.min() > 12 and means.max() < 243 and pictures.std() > 40


def test_head_pixels_lie_inside_the_cropped_part():
    people = draw_identities(0, Split.TRAIN, [3, 4]) | draw_nuisance(0, Split.TRAIN, [3, 4], [0, 1])
    parameters = {
        name: torch.tensor(value, dtype=torch.float32).view(-1, 1, 1) for name, value in people.items()
    }
    view = look(parameters, 40)
    covered = inside(view.outside, view.px) > 0
    head, (rows, columns) = crop(view)
    assert 0 < head.x[0].numel() < 40 * 40
    kept = torch.zeros_like(covered)
    kept[:, rows, columns] = True
    assert covered.any() and not (covered & ~kept).any()


def test_profiles_have_their_stated_values():
    x = torch.tensor([[[-1.5, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0]]])
    assert bump(x).flatten().tolist() == [0, 0, 0.5625, 1, 0.87890625, 0.5625, 0, 0]
    assert bump(x, x)[0, 0, 2].item() == 0.25
    assert ramp(x).flatten().tolist() == [0, 0, 0, 0, 0.15625, 0.5, 1, 1]
    assert inside(x, 1.0).flatten().tolist() == [1, 1, 1, 0.5, 0.25, 0, 0, 0]
    assert wave(x).flatten().tolist() == [-1, 1, -1, 1, 0, -1, 1, 1]


def test_extreme_difficulty_stays_a_picture():
    """Nothing divides by a parameter that the difficulty can push to zero; NaN would depend on the chunk."""
    people, images = np.arange(40), np.zeros(40, np.int64)
    together = draw(people, images, difficulty=5.0, size_px=24)
    alone = draw(people, images, difficulty=5.0, size_px=24, chunk_pixels=1)
    np.testing.assert_array_equal(together, alone)
    assert together.std() > 30
