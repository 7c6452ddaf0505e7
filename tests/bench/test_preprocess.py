"""Tests of bench/data/preprocess.py: pixels -> backbone input."""

import numpy as np
import pytest
import torch

from bench.data.preprocess import Preprocess, center_crop, standardize


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
