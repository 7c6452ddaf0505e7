"""Names, hashes and neighbours, each against plain formulations."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bench.data.audit import hashes as hashes_module
from bench.data.audit.hashes import MAX_BITS, differing_bits, near_duplicates, perceptual_hash
from bench.data.audit.histogram import bins, text_histogram
from bench.data.audit.names import is_number, key, shared
from bench.data.audit.neighbours import nearest
from bench.data.rendered.render import render
from bench.data.rendered.streams import Split


@pytest.mark.parametrize(
    "spelling", ["José_María_Aznar", "jose maria aznar", "Aznar-Jose.Maria", "JOSE\u0301 MARI\u0301A AZNAR"]
)
def test_spellings_of_one_name_have_one_key(spelling: str) -> None:
    assert key(spelling) == ("aznar", "jose", "maria")


@pytest.mark.parametrize("other", ["Jose_Aznar", "Jose_Maria_Aznar_2", "Josef_Maria_Aznar"])
def test_other_names_do_not(other: str) -> None:
    assert key(other) != key("Jose_Maria_Aznar")


def test_shared_names_are_those_of_the_last_folder() -> None:
    train = ["casia/Alan_Ball", "casia/Anna_Kournikova", "casia/---"]
    assert shared(train, ["lfw/kournikova anna", "lfw/Ball_Alan_Jr", "lfw/..."]) == [
        ("casia/Anna_Kournikova", "lfw/kournikova anna")
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("00082", True), ("n000001", True), ("id10001", True), ("m.0107_f", False), ("Al", False)],
)
def test_numbers_are_no_names(name: str, expected: bool) -> None:
    assert is_number(name) is expected


def faces(number: int, size_px: int = 64) -> list[Image.Image]:
    pictures = render(3, Split.TRAIN, range(number), [0] * number, size_px=size_px, threads=1)
    return [Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))) for picture in pictures]


def recompressed(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.resize((48, 48), Image.Resampling.LANCZOS).save(stream, "JPEG", quality=60)
    return Image.open(stream).convert("RGB")


def hashed(images: list[Image.Image]) -> np.ndarray:
    return np.stack([found for image in images if (found := perceptual_hash(image)) is not None])


def test_a_smaller_and_recompressed_picture_keeps_its_hash_and_others_do_not() -> None:
    originals = faces(40)
    copies = hashed([recompressed(image) for image in originals])
    hashes = hashed(originals)
    assert differing_bits(copies, hashes).max() <= MAX_BITS
    others = differing_bits(hashes[:, None], hashes[None])[~np.eye(40, dtype=bool)]
    assert others.min() > MAX_BITS


def test_the_hash_is_of_the_cosine_transform() -> None:
    """Against scipy's, with the scale that does not matter left away."""
    from scipy.fft import dctn

    (image,) = faces(1)
    grey = np.asarray(image.convert("L"), float)
    low = dctn(grey, type=2)[:16, :16]
    np.testing.assert_array_equal(np.unpackbits(hashed([image])[0]), (low > np.median(low)).ravel())


def test_a_picture_of_one_colour_has_no_hash() -> None:
    assert perceptual_hash(Image.new("RGB", (20, 20), "red")) is None


@pytest.mark.parametrize("block", [1_000_000, 7])
@pytest.mark.parametrize("max_bits", [0, 5, MAX_BITS])
def test_the_search_finds_exactly_what_comparing_all_finds(
    max_bits: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes_module, "_BLOCK", block)
    generator = np.random.default_rng(0)
    test = generator.integers(0, 256, (30, 32), np.uint8)
    train = generator.integers(0, 256, (90, 32), np.uint8)
    for row in range(60):  # copies with 0 to 40 flipped bits, spread so as to touch as many bands as possible
        bits = np.unpackbits(test[row % 30])
        flipped = (np.arange(min(row, 40)) * 16 + generator.integers(16)) % 256 + np.arange(
            min(row, 40)
        ) // 16
        bits[flipped % 256] ^= 1
        train[row] = np.packbits(bits)
    distances = differing_bits(train[:, None], test[None])
    expected = {(int(ours), int(theirs)) for ours, theirs in np.argwhere(distances <= max_bits)}
    found = near_duplicates(train, test, max_bits=max_bits)
    assert {(int(ours), int(theirs)) for ours, theirs, _ in found} == expected
    assert len(found) == len(expected) > 0
    assert (found[:, 2] == distances[found[:, 0], found[:, 1]]).all()


def test_no_pictures_have_no_duplicates() -> None:
    nothing = np.empty((0, 32), np.uint8)
    assert near_duplicates(nothing, np.zeros((3, 32), np.uint8)).shape == (0, 3)
    assert near_duplicates(np.zeros((3, 32), np.uint8), nothing).shape == (0, 3)


def test_more_bits_than_can_be_found_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`0 <= max_bits <= 31` must hold, but got 32"):
        near_duplicates(np.zeros((1, 32), np.uint8), np.zeros((1, 32), np.uint8), max_bits=32)


def test_the_nearest_is_found_over_blocks() -> None:
    generator = np.random.default_rng(0)
    train, test = (generator.normal(size=(number, 8)).astype(np.float32) for number in (50, 9))
    row, distance = nearest((train[start : start + 16] for start in range(0, 50, 16)), 3 * test)
    unit = [values / np.linalg.norm(values, axis=1, keepdims=True) for values in (train, test)]
    all_distances = np.square(unit[0][None] - unit[1][:, None]).sum(-1)
    np.testing.assert_array_equal(row, all_distances.argmin(1))
    np.testing.assert_allclose(distance, all_distances.min(1), atol=1e-5)
    assert nearest(iter(()), test)[0].tolist() == [-1] * 9


def test_the_histogram_shows_the_long_tail() -> None:
    images_of = {**dict.fromkeys("abc", 2), **dict.fromkeys("defg", 4), "h": 30, "i": 1000}
    rows = bins(images_of)
    assert rows[0] == ("2-4", 7) and rows[-1] == ("1000+", 1) and sum(count for _, count in rows) == 9
    assert text_histogram({"a": 1, "b": 1, "c": 3}) == [
        f"         1        2 {'#' * 40}",
        f"       2-4        1 {'#' * 20}",
    ]
    assert text_histogram({}) == []
