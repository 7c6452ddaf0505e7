"""Bytes of any kind of image file -> RGB pixels, or the reason why not."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# 300 MB as RGB. Pillow itself draws its line (a warning, then an error) at 89 and 179 megapixels.
MAX_PIXELS = 100_000_000
# What Pillow's decoders raise on damaged files, beside OSError.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class UnreadableError(Exception):
    """No picture can be made of these bytes; the message says why."""


def read_picture(data: bytes) -> Image.Image:
    """Decode an image: upright (EXIF), RGB, 8 bits; transparency on white; an animation's first frame.

    Raises:
        UnreadableError: empty, damaged, cut off, of no known kind, or larger than MAX_PIXELS.
    """
    if not data:
        raise UnreadableError("the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; pixels are what counts
        try:
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableError(
                        f"{image.width} x {image.height} px is more than {MAX_PIXELS // 10**6} megapixels"
                    )
                return _rgb(ImageOps.exif_transpose(image))
        except UnidentifiedImageError as error:
            raise UnreadableError("not an image of a known kind") from error
        except _DAMAGED as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UnreadableError(f"damaged: {reason}") from error


def _rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith("I"):
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    elif image.mode == "F":
        raise UnreadableError("pixels are floating-point numbers of unknown range")
    if image.has_transparency_data:
        above = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")
    return image.convert("RGB")


def _eight_bits(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Sixteen bits to eight; Pillow's own conversion cuts everything above 255 off."""
    return np.clip(values.astype(np.int64) // 257, 0, 255).astype(np.uint8)
