"""Tests of bench/data/preprocess.py: pixels -> backbone input."""

import numpy as np
import pytest
import torch

from bench.data.preprocess import Preprocess, Standardization, center_crop, standardize


def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, 9, 9), generator=torch.Generator().manual_seed(3)).to(torch.uint8)


def test_fixed_standardisation_is_facenets() -> None:
    assert standardize(torch.tensor([[[[0.0, 127.5, 255.5]]]]), "fixed").flatten().tolist() == pytest.approx(
        [-0.99609375, 0.0, 1.0]
    )


def test_fixed_standardisation_in_one_pass_equals_two_to_the_last_bit() -> None:
    pixels = 255.0 * torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(standardize(pixels, "fixed"), (pixels - 127.5) / 128.0)


def test_per_image_standardisation_is_facenets_prewhiten() -> None:
    images = pictures()
    for whitened, image in zip(standardize(images, "per_image"), images.numpy(), strict=True):
        values = image.astype(np.float64)
        expected = (values - values.mean()) / max(values.std(), 1 / np.sqrt(values.size))
        np.testing.assert_allclose(whitened.numpy(), expected, atol=1e-4)


def test_a_flat_image_does_not_divide_by_zero() -> None:
    assert torch.isfinite(standardize(torch.full((1, 3, 8, 8), 9.0), "per_image")).all()


@pytest.mark.parametrize(
    ("size", "kept"), [(None, slice(0, 9)), (9, slice(0, 9)), (5, slice(2, 7)), (6, slice(1, 7))]
)
def test_the_middle_is_cut_out_before_anything_is_measured(size: int | None, kept: slice) -> None:
    fed = Preprocess("per_image", crop_px=size)(pictures())
    assert torch.equal(fed, standardize(pictures()[..., kept, kept], "per_image"))


def test_an_image_that_was_cropped_at_random_is_not_cropped_again() -> None:
    assert center_crop(pictures(), 12).shape == (6, 3, 9, 9)


@pytest.mark.parametrize("kind", ["fixed", "per_image", "none"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("count", [1, 35])  # more than two blocks
def test_laid_out_for_convolutions_are_the_same_numbers(
    kind: Standardization, dtype: torch.dtype, layout: torch.memory_format, count: int
) -> None:
    random = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (count, 3, 9, 11), generator=random).to(dtype)
    pixels = pixels.contiguous(memory_format=layout)
    before = pixels.clone()
    for size in (None, 6):
        preprocess = Preprocess(kind, size)
        laid = preprocess.channels_last(pixels)
        assert torch.equal(laid, preprocess(before))
        assert laid.dtype == torch.float32 and laid.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(pixels, before)


def test_a_place_is_written_over_where_the_images_fit() -> None:
    preprocess = Preprocess()
    place = preprocess.channels_last(pictures().flip(0))
    assert preprocess.channels_last(pictures(), place) is place
    assert torch.equal(place, preprocess(pictures()))
    fewer = preprocess.channels_last(pictures()[:4].flip(0), place)
    assert torch.equal(fewer, preprocess(pictures()[:4].flip(0)))
    assert torch.equal(place, preprocess(pictures()))
