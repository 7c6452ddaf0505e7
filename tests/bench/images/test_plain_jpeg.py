"""Plain JPEGs come from libjpeg-turbo as they come from Pillow: the same pixels, the same refusals."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bench.images import UnreadableImageError, decode_image, plain_jpeg
from bench.images.plain_jpeg import decode_plain_jpeg

from ..pictures import encoded, picture

pytest.importorskip("simplejpeg", reason="needs simplejpeg: pip install 'faceloss-bench[jpeg]'")


def plain(content: bytes, *, min_side: int = 8, max_pixels: int = 10**6) -> object:
    return decode_plain_jpeg(content, min_side=min_side, max_pixels=max_pixels)


def outcome(content: bytes, size_px: int) -> bytes | str:
    try:
        return decode_image(content, size_px).tobytes()
    except UnreadableImageError as error:
        return str(error)


def by_pillow(monkeypatch: pytest.MonkeyPatch, contents: list[bytes], size_px: int) -> list[bytes | str]:
    with monkeypatch.context() as patch:
        patch.setattr(plain_jpeg, "_simplejpeg", None)
        return [outcome(content, size_px) for content in contents]


@pytest.mark.parametrize("size", [(32, 32), (45, 31), (100, 67)])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_pixels_are_pillows_at_every_quality_and_size(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], subsampling: int, progressive: bool
) -> None:
    options = {"subsampling": subsampling, "progressive": progressive, "optimize": progressive}
    contents = [
        encoded(picture(f"face {quality}", size=size), quality=quality, **options)
        for quality in (5, 50, 75, 92, 100)
    ]
    for content in contents:
        pixels = plain(content)
        assert isinstance(pixels, np.ndarray)
        with Image.open(io.BytesIO(content)) as image:
            assert np.array_equal(pixels, np.asarray(image))
    for size_px in (16, 32, 64):
        assert [outcome(content, size_px) for content in contents] == by_pillow(
            monkeypatch, contents, size_px
        )


def test_what_is_not_plain_is_left_to_pillow() -> None:
    face = picture("face", size=(32, 32))
    turned = Image.Exif()
    turned[0x0112] = 6
    content = encoded(face)
    others = {
        "turned": encoded(face, exif=turned),
        "grey": encoded(face.convert("L")),
        "CMYK": encoded(face.convert("CMYK")),
        "PNG": encoded(face, "PNG"),
        "no JFIF": content[:2] + content[20:],
        "a profile": encoded(face, icc_profile=b"profile"),
        "cut in its header": content[:100],
        "cut in its pixels": content[:-40],
    }
    assert plain(content) is not None
    assert {name for name, other in others.items() if plain(other) is not None} == set()


def test_the_limits_of_size_are_pillows_to_explain() -> None:
    content = encoded(picture("face", size=(32, 20)))
    assert plain(content, min_side=20, max_pixels=640) is not None
    assert plain(content, min_side=21) is None and plain(content, max_pixels=639) is None


def test_damaged_files_come_to_the_same_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are changed, lost or doubled: the same pixels or the same words with and without it."""
    random = np.random.default_rng(0)
    sound = [encoded(picture("face", size=(48, 48)), quality=90, progressive=kind) for kind in (False, True)]
    contents = []
    for number in range(400):
        content = bytearray(sound[number % 2])
        place = int(random.integers(2, len(content)))
        match number % 4:
            case 0:
                content[place] = int(random.integers(256))
            case 1:
                del content[place:]
            case 2:
                del content[place : place + int(random.integers(1, 20))]
            case _:
                content[place:place] = content[place : place + 30]
        contents.append(bytes(content))
    ends = [outcome(content, 32) for content in contents]
    assert ends == by_pillow(monkeypatch, contents, 32)
    assert {type(end) for end in ends} == {bytes, str}
    assert any(plain(content) is not None for content in contents)


def test_without_simplejpeg_nothing_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_jpeg, "_simplejpeg", None)
    assert plain(encoded(picture("face"))) is None
