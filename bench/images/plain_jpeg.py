"""Plain JPEGs, decoded without what Pillow does around libjpeg: in half the time or less, to the same pixels.

Needs simplejpeg (extra `jpeg`). Both call libjpeg-turbo with its exact inverse transform and smooth
upsampling. What is not plain or not sound is left to Pillow: this module never says why a file is bad.
"""

from __future__ import annotations

import struct
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

_JFIF = b"\xff\xd8\xff\xe0"
_SKIPPED = frozenset({0xC4, 0xDB, 0xDD, 0xE0, 0xFE})  # tables, restart interval, JFIF, comment
_FRAMES = frozenset({0xC0, 0xC2})  # baseline and progressive
_SCAN = 0xDA
_FRAME = struct.Struct(">BHHB")  # bits a number, height, width, colours

try:
    import simplejpeg as _turbo
except ImportError:
    _turbo = None

_simplejpeg: ModuleType | None = _turbo


def decode_plain_jpeg(content: bytes, *, min_side: int, max_pixels: int) -> NDArray[np.uint8] | None:
    """Decode a file that is a JPEG in colour and nothing else: no EXIF, Adobe or other extensions.

    Args:
        content: of the file.
        min_side: smallest height and width, px.
        max_pixels: most pixels.

    Shape:
        returns (H, W, 3) uint8 RGB; None: Pillow should look, at the file or at what is wrong with it.
    """
    if _simplejpeg is None:
        return None
    size = _plain_size(content)
    if size is None or min(size) < min_side or size[0] * size[1] > max_pixels:
        return None
    try:
        # strict: libjpeg's warnings are errors, so that damage is Pillow's to judge
        pixels: NDArray[np.uint8] = _simplejpeg.decode_jpeg(content, strict=True)
    except (ValueError, MemoryError):
        return None
    return pixels


def _plain_size(content: bytes) -> tuple[int, int] | None:
    """Height and width by the frame's header, if nothing but plain segments comes before the pixels."""
    if not content.startswith(_JFIF):
        return None
    size = None
    place = 2
    while len(content) >= place + 10 and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == _SCAN:
            return size
        if marker in _FRAMES:
            precision, height, width, colours = _FRAME.unpack_from(content, place + 4)
            if precision != 8 or colours != 3:
                return None
            size = height, width
        elif marker not in _SKIPPED:
            return None
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return None
