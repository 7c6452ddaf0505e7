"""What stands in data sets, good and bad, becomes RGB pixels or a reason."""

from __future__ import annotations

import io
import sys
import threading
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from bench.images import UnreadableImageError, decode_image

from ..pictures import encoded, picture

FACE = picture("face", size=(32, 32))
EXPECTED = np.asarray(FACE).transpose(2, 0, 1)


def reason(content: bytes) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode_image(content, 16)
    return str(caught.value)


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Threads take turns every few instructions."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_an_image_of_the_right_size_comes_as_it_is(kind: str) -> None:
    assert np.array_equal(decode_image(encoded(FACE, kind), 32), EXPECTED)


def test_jpeg_is_what_pillow_decodes() -> None:
    content = encoded(FACE, quality=90)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(decode_image(content, 32), np.asarray(image).transpose(2, 0, 1))


def test_shrinking_averages_and_keeps_the_whole_face() -> None:
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    content = encoded(Image.fromarray(np.stack([checks] * 3, -1).astype(np.uint8)), "PNG")
    small = decode_image(content, 16).astype(int)
    assert abs(small - 127).max() < 8  # one pixel out of four would be 0 or 255


def test_what_is_not_square_loses_its_longer_ends() -> None:
    wide = Image.new("RGB", (60, 20), "red")
    wide.paste("blue", (20, 0, 40, 20))
    assert (decode_image(encoded(wide, "PNG"), 20) == np.array([0, 0, 255])[:, None, None]).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_every_kind_of_pixel_becomes_rgb(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    image = FACE.convert(mode)
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decode_image(encoded(image, kind), 32), expected)


def test_a_cmyk_jpeg_is_close_to_its_colours() -> None:
    pixels = decode_image(encoded(FACE.convert("CMYK"), quality=95), 32).astype(int)
    assert np.abs(pixels - EXPECTED).mean() < 10


def test_a_palette_with_transparency_is_read_without_a_warning() -> None:
    image = FACE.convert("P")
    content = encoded(image, "PNG", transparency=bytes(range(256)))
    assert decode_image(content, 32).shape == (3, 32, 32)


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    pixels = decode_image(encoded(Image.fromarray(ramp), "PNG"), 32)
    assert np.array_equal(pixels, np.stack([ramp // 257] * 3))


def test_a_picture_that_the_camera_turned_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    pixels = decode_image(encoded(FACE, "PNG", exif=exif), 32)
    assert np.array_equal(pixels, EXPECTED[:, ::-1, ::-1])


def test_two_threads_leave_the_filters_of_warnings_as_they_were(fast_switching: None) -> None:
    content = encoded(FACE, "PNG")
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode_image(content, 16) for _ in range(600)]) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_the_suffix_does_not_matter_the_content_does() -> None:
    assert np.array_equal(decode_image(encoded(FACE, "PNG"), 32), EXPECTED)
    assert reason(b"<html>not found") == "is no image; it begins with b'<html>no'"


def test_what_cannot_be_a_face_says_why() -> None:
    assert reason(b"") == "is empty"
    assert reason(encoded(Image.new("RGB", (7, 40)), "PNG")) == "is only 7 x 40 px"
    frames = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 128, 255)]
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert reason(animated) == "is animated (3 frames)"
    floating = Image.fromarray(np.zeros((16, 16), np.float32))
    assert reason(encoded(floating, "TIFF")) == "holds floating-point pixels, whose range nobody knows"


def test_a_truncated_file_is_unreadable_wherever_it_ends() -> None:
    content = encoded(picture("large", size=(64, 64)), quality=95)
    for length in range(1, len(content) - 2, len(content) // 40):
        assert reason(content[:length]).startswith(("cannot be decoded: ", "is no image; "))


def test_a_picture_that_would_fill_the_memory_is_refused() -> None:
    content = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    assert reason(content) == "has more than 89,478,485 pixels"
    content = encoded(Image.new("1", (10_000, 10_000)), "PNG")
    assert reason(content) == "has more than 89,478,485 pixels"


def test_damaged_bytes_never_escape_as_another_error() -> None:
    generator = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        whole = np.frombuffer(encoded(FACE, kind), np.uint8)
        for _ in range(60):
            damaged = whole.copy()
            places = generator.integers(0, len(whole), 8)
            damaged[places] = generator.integers(0, 256, 8)
            try:
                pixels = decode_image(damaged.tobytes(), 16)
            except UnreadableImageError:
                continue
            assert pixels.shape == (3, 16, 16)


def test_postscript_is_not_run() -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n"
    assert reason(eps).startswith("is no image")
