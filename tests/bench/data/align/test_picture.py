"""Files of every kind become RGB pixels, or a reason."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from bench.data.align.picture import UnreadableError, read_picture

from .conftest import encoded

GRADIENT = Image.fromarray(np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1)))


def pixels(data: bytes) -> np.ndarray:
    image = read_picture(data)
    assert image.mode == "RGB"
    return np.asarray(image, int)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = GRADIENT.convert("RGB").convert(mode) if mode != "LA" else GRADIENT.convert("LA")
    expected = np.asarray(image.convert("RGB"), int)
    np.testing.assert_array_equal(pixels(encoded(image)), expected)


def test_cmyk_jpeg_is_read() -> None:
    image = GRADIENT.convert("RGB")
    difference = pixels(encoded(image.convert("CMYK"), "JPEG", quality=100)) - np.asarray(image, int)
    assert np.abs(difference).max() <= 3


def test_sixteen_bits_keep_their_upper_half_instead_of_being_cut_off() -> None:
    deep = Image.fromarray(np.asarray(GRADIENT, np.uint16) * 257)
    np.testing.assert_array_equal(pixels(encoded(deep))[..., 0], np.asarray(GRADIENT, int))


def test_transparency_is_white() -> None:
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    assert (pixels(encoded(clear)) == 255).all()


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(data)[0, 0].tolist() == [255, 0, 0]


def test_pictures_are_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    data = encoded(GRADIENT.convert("RGB").resize((40, 20)), "JPEG", exif=exif)
    assert read_picture(data).size == (20, 40)


def test_a_jpeg_that_calls_itself_png_is_read() -> None:
    assert read_picture(encoded(GRADIENT.convert("RGB"), "JPEG")).size == (32, 32)  # names are never asked


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"<html>404</html>", "not an image of a known kind"),
        (
            encoded(GRADIENT.resize((90, 90)), "JPEG")[:-400],
            r"damaged: image file is truncated \(\d+ bytes .*",
        ),
        (encoded(GRADIENT)[:50], "damaged: .*"),
        (
            encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
            "pixels are floating-point numbers of .*",
        ),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=f"^{reason}$"):
        read_picture(data)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(UnreadableError, match=r"^12000 x 12000 px is more than 100 megapixels$"):
        read_picture(bomb)


def test_no_damage_to_a_file_raises_anything_else() -> None:
    generator = np.random.default_rng(0)
    for whole in (
        encoded(GRADIENT.convert("RGB"), "JPEG"),
        encoded(GRADIENT),
        encoded(GRADIENT, "GIF"),
        encoded(GRADIENT, "TIFF"),
        encoded(GRADIENT, "WEBP"),
    ):
        for _ in range(60):
            damaged = bytearray(whole)
            for position in generator.integers(0, len(whole), 6):
                damaged[position] = generator.integers(256)
            try:
                read_picture(bytes(damaged[: generator.integers(1, len(whole) + 1)]))
            except UnreadableError as error:
                assert "\n" not in str(error)
