"""One image file -> square RGB pixels, or the reason why not."""

from __future__ import annotations

import io
import threading
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.images.plain_jpeg import decode_plain_jpeg

# What a data set may hold, whatever the suffix says. Not all that Pillow reads: EPS starts a program.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
MIN_SIDE_PX = 8  # a smaller picture shows no face, however far it is enlarged
_ORIENTATION = 0x0112  # the EXIF tag that cameras turn pictures by
# Filters of warnings are the whole process', and a run decodes its next batch beside an evaluation.
_FILTERS = threading.Lock()
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")


class UnreadableImageError(ValueError):
    """The file holds no picture that can be used; the message is the reason, without the file's name."""


def decode_image(content: bytes, size_px: int) -> NDArray[np.uint8]:
    """Decode, turn upright, cut the largest square out of the middle, resize.

    Shrinking is Lanczos with the support that the factor asks for, enlarging bicubic. Grey, CMYK, palette and
    16-bit pictures become 8-bit RGB; transparency is dropped.

    Args:
        content: of the file.
        size_px: height and width of the result.

    Shape:
        returns (3, size_px, size_px) uint8 RGB; pixel by pixel in memory, as they were decoded.

    Raises:
        UnreadableImageError: empty, truncated, no image, animated, tiny, or too large to be meant.
    """
    if not content:
        raise UnreadableImageError("is empty")
    try:
        plain = decode_plain_jpeg(content, min_side=MIN_SIDE_PX, max_pixels=Image.MAX_IMAGE_PIXELS or 0)
        if plain is not None:
            if plain.shape[:2] != (size_px, size_px):
                plain = np.array(_square(Image.fromarray(plain), size_px))
            return plain.transpose(2, 0, 1)
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damage that is in the metadata only
            # Pillow warns from 89 million pixels on: that would be 270 MB for one face
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _refuse(image)
                image.load()
                pixels = np.array(_square(_rgb(image), size_px))
    except UnidentifiedImageError:
        raise UnreadableImageError(f"is no image; it begins with {content[:8]!r}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError(f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except MemoryError:
        raise UnreadableImageError("does not fit into memory") from None
    except UnreadableImageError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds for damaged files, depending on the format
        raise UnreadableImageError(f"cannot be decoded: {' '.join(str(error).split())}") from None
    return pixels.transpose(2, 0, 1)


def _refuse(image: Image.Image) -> None:
    if min(image.size) < MIN_SIDE_PX:
        raise UnreadableImageError(f"is only {image.width} x {image.height} px")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # there the first picture is the photograph, the rest previews
        raise UnreadableImageError(f"is animated ({frames} frames)")


def _rgb(image: Image.Image) -> Image.Image:
    turned = image
    if image.getexif().get(_ORIENTATION, 1) != 1:
        turned = ImageOps.exif_transpose(image)
    if turned.mode in _SIXTEEN_BITS:
        # `convert` would cut everything above 255 off
        values = np.asarray(turned).astype(np.int64)
        turned = Image.fromarray((values.clip(0, 65535) // 257).astype(np.uint8))
    if turned.mode == "F":
        raise UnreadableImageError("holds floating-point pixels, whose range nobody knows")
    if turned.mode == "P" and "transparency" in turned.info:
        turned = turned.convert("RGBA")
    return turned if turned.mode == "RGB" else turned.convert("RGB")  # which would copy it


def _square(image: Image.Image, size_px: int) -> Image.Image:
    width, height = image.size
    side = min(width, height)
    if width == height == size_px:
        return image
    left, top = (width - side) // 2, (height - side) // 2
    how = Image.Resampling.LANCZOS if side > size_px else Image.Resampling.BICUBIC
    return image.resize((size_px, size_px), how, box=(left, top, left + side, top + side))
