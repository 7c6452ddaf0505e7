import numpy as np
import pytest
import torch

from bench.data import Augment
from bench.data.batches import Draw, stream


def pictures(count: int = 6, size: int = 16) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8))


ALL = {"flip": True, "shift_px": 2, "rotate_deg": 10.0, "erase": 0.5, "brightness": 0.3}


@pytest.mark.parametrize("options", [ALL, {**ALL, "rotate_deg": 0.0}, {**ALL, "crop_px": 11}])
def test_a_share_of_the_batch_gets_what_the_whole_batch_would_give_it(options: dict[str, float]) -> None:
    images = pictures()
    whole = Augment(7, **options)(images, 3, 6)
    shares = [Augment(7, **options)(images[part], 3, 6, part) for part in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(torch.cat(shares), whole, rtol=0, atol=0)


def test_seed_and_batch_number_decide_the_draws() -> None:
    images = pictures()
    first = Augment(7, **ALL)(images, 3, 6)
    assert torch.equal(first, Augment(7, **ALL)(images, 3, 6))
    assert not torch.equal(first, Augment(7, **ALL)(images, 4, 6))
    assert not torch.equal(first, Augment(8, **ALL)(images, 3, 6))


def test_flip_alone_mirrors_about_half_of_the_images_and_changes_nothing_else() -> None:
    images = pictures(200)
    flipped = Augment(0, flip=True)(images, 0, 200)
    same = (flipped == images.float()).flatten(1).all(1)
    mirrored = (flipped == images.float().flip(-1)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert 70 < int(mirrored.sum()) < 130


def test_shift_moves_whole_pixels_and_repeats_the_border() -> None:
    images = pictures(50)
    shifted = Augment(0, flip=False, shift_px=1)(images, 0, 50)
    padded = torch.nn.functional.pad(images.float(), (1,) * 4, mode="replicate")
    seen = set()
    for image, source in zip(shifted, padded, strict=True):
        found = [
            (row, column)
            for row in range(3)
            for column in range(3)
            if torch.equal(image, source[:, row : row + 16, column : column + 16])
        ]
        assert found
        seen.update(found)
    assert len(seen) == 9


def test_rotation_by_nothing_is_the_flip_and_shift_path_but_for_rounding() -> None:
    images = pictures()
    tiny = Augment(1, flip=True, rotate_deg=1e-6)(images, 0, 6)
    torch.testing.assert_close(tiny, Augment(1, flip=True)(images, 0, 6).float(), rtol=0, atol=0.05)


def test_erasing_puts_one_grey_rectangle_into_the_chosen_share() -> None:
    images = pictures(300) // 2  # below the grey
    erased = Augment(0, flip=False, erase=0.25)(images, 0, 300)
    holes = (erased == 127.5).all(1)
    assert 45 < int(holes.flatten(1).any(1).sum()) < 105
    assert torch.equal(
        erased[~holes[:, None].expand_as(erased)], images.float()[~holes[:, None].expand_as(erased)]
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_shift_crop_and_flip_in_one_window_equal_one_after_another(layout: torch.memory_format) -> None:
    """Flip, then shift with a repeated border, then crop, image by image from the documented draws."""
    size, reach, crop = 200, 3, 9
    images = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (size, 3, 12, 16), dtype=np.uint8)
    ).contiguous(memory_format=layout)
    moved = Augment(7, shift_px=reach, crop_px=crop)(images, 3, size)
    random = stream(7, Draw.AUGMENTATION, 3)
    draws = random.random((size, 10), dtype=np.float32)
    places = random.random((size, 2), dtype=np.float32)
    for image, found, draw, place in zip(images, moved, draws, places, strict=True):
        flipped = image.flip(-1) if draw[0] < 0.5 else image
        padded = torch.nn.functional.pad(flipped[None].float(), (reach,) * 4, mode="replicate")[0]
        top, left = (int(share * 7) for share in draw[1:3])
        shifted = padded[:, top : top + 12, left : left + 16]
        top, left = int(place[0] * 4), int(place[1] * 8)
        assert torch.equal(found, shifted[:, top : top + crop, left : left + crop])
    assert moved.dtype == torch.uint8


@pytest.mark.parametrize("option", ["rotate_deg", "brightness", "erase"])
def test_what_changes_values_gives_floats(option: str) -> None:
    assert Augment(7, **{option: 0.3})(pictures(), 3, 6).dtype == torch.float32


def test_the_images_themselves_are_left_as_they_are() -> None:
    images = pictures()
    before = images.clone()
    for options in (ALL, {"flip": True}, {"shift_px": 2}, {"crop_px": 9}):
        Augment(7, **options)(images, 0, 6)
        assert torch.equal(images, before)


def test_a_crop_is_a_part_of_the_image_from_every_place_alike() -> None:
    images = pictures(1, 8).expand(900, 3, 8, 8)
    cropped = Augment(0, flip=False, crop_px=6)(images, 0, 900)
    assert cropped.shape == (900, 3, 6, 6)
    parts = [
        images[0, :, row : row + 6, column : column + 6].float() for row in range(3) for column in range(3)
    ]
    seen = [sum(torch.equal(crop, part) for crop in cropped) for part in parts]
    assert sum(seen) == 900
    assert min(seen) > 60  # 100 each on average; 60 is four standard deviations off


def test_a_crop_changes_no_other_draw() -> None:
    images = pictures()
    whole = Augment(7, **ALL)(images, 3, 6)
    assert torch.equal(Augment(7, **ALL, crop_px=16)(images, 3, 6), whole)


def test_the_same_number_gives_other_draws_for_another_use() -> None:
    images = pictures()
    training = Augment(7, **ALL)(images, 3, 6)
    selecting = Augment(7, **ALL)(images, 3, 6, draw=Draw.SELECTION)
    assert not torch.equal(training, selecting)
