"""Lists of pairs as CSV, and insightface's .bin as a test."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from bench.data.asked import AskedPair, read_asked_pairs, without_suffix
from bench.data.protocols import ProtocolOptions, open_protocol
from bench.errors import UserError
from bench.images import decode_image

from ..pictures import encoded, picture

HEAD = "left,right,same,fold\n"


def test_pairs_txt_and_csv_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("1\t1\nAbel\t1\t2\nAbel\t1\tZoë K\t3\n", encoding="utf-8")
    (tmp_path / "pairs.csv").write_text(
        HEAD + "Abel/Abel_0001.jpg,Abel/Abel_0002.png,1,0\n" + "Abel/Abel_0001,Zoë K/Zoë K_0003,False,0\n",
        encoding="utf-8",
    )
    expected = [
        AskedPair("Abel/Abel_0001", "Abel/Abel_0002", True, 0, 2),
        AskedPair("Abel/Abel_0001", "Zoë K/Zoë K_0003", False, 0, 3),
    ]
    assert read_asked_pairs(tmp_path / "pairs.txt") == expected
    assert read_asked_pairs(tmp_path / "pairs.csv") == expected


def test_only_the_suffix_of_an_image_is_a_suffix() -> None:
    names = ("A/a.JPG", "A/J. R. Smith", "A.b/c.png", "A/x")
    assert [without_suffix(name) for name in names] == ["A/a", "A/J. R. Smith", "A.b/c", "A/x"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ":1: the columns must be left,right,same,fold; 'left' is missing"),
        ("left,right,same\n", ":1: the columns must be left,right,same,fold; 'fold' is missing"),
        (HEAD, ": holds no pairs"),
        (HEAD + "a.jpg,A/b,1,0\n", ":2: left: must be IDENTITY/IMAGE, got 'a.jpg'"),
        (HEAD + "A/a,A/b,1,0\nA/a,,0,0\n", ":3: right: must be IDENTITY/IMAGE, got ''"),
        (HEAD + "A/a,A/b,yes,0\n", ":2: same: must be 1 or 0, got 'yes'"),
        (HEAD + "A/a,A/b,1,-1\n", ":2: fold: must count from 0, got '-1'"),
        (HEAD + "A/a,A/b,1,1\n", ": folds count from 0 without a gap, but fold 0 has no pair"),
        (HEAD + "A/a,A/a.jpg,1,0\n", ":2: a pair needs two images, but both are A/a"),
        (HEAD + "A/a,B/b,1,0\n", ":2: a genuine pair cannot be of A and B"),
        (HEAD + "A/a,A/b,0,0\n", ":2: an impostor pair cannot be of A and A"),
    ],
)
def test_a_bad_csv_is_one_line_with_file_and_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_asked_pairs(path)
    assert str(caught.value) == f"{path}{problem}"


def bin_file(path: Path, num_pairs: int) -> list[bytes]:
    images = [encoded(picture(f"image {number}")) for number in range(2 * num_pairs)]
    path.write_bytes(pickle.dumps((images, [number % 3 == 0 for number in range(num_pairs)])))
    return images


def test_a_bin_is_a_test_with_its_own_pairs_in_ten_runs(tmp_path: Path) -> None:
    images = bin_file(tmp_path / "cfp_fp.bin", 23)
    options = ProtocolOptions(str(tmp_path / "cfp_fp.bin"), name="cfp_fp")
    for _ in range(2):
        protocol = open_protocol(tmp_path, options, 16, "data.protocol")
        assert np.array_equal(protocol.faces.images[:], [decode_image(image, 16) for image in images])
        assert protocol.left.tolist() == list(range(0, 46, 2))
        assert protocol.right.tolist() == list(range(1, 46, 2))
        assert protocol.same.tolist() == [number % 3 == 0 for number in range(23)]
        # sklearn's KFold(10, shuffle=False), by which insightface reports: the first three are longer
        assert np.bincount(protocol.fold).tolist() == [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]
        assert (np.diff(protocol.fold) >= 0).all()


def test_a_bin_that_makes_no_test_says_why(tmp_path: Path) -> None:
    path = tmp_path / "lfw.bin"

    def refusal(**options: str) -> str:
        with pytest.raises(UserError) as caught:
            open_protocol(tmp_path, ProtocolOptions(str(path), **options), 16, "data.protocol")  # type: ignore[arg-type]
        return str(caught.value)

    bin_file(path, 9)
    assert refusal() == f"data.protocol.root: {path}: 10 folds need as many pairs, but it holds 9"
    assert refusal(pairs="x.txt") == f"data.protocol.pairs: {path} brings its own pairs; leave it out"
    path.write_bytes(pickle.dumps(([b""] * 20, [True] * 10)))
    assert refusal() == f"{path}: none of its 20 images can be read; the first: unknown/000000 is empty"
    path.write_bytes(pickle.dumps(([encoded(picture("x"))] * 19 + [b"?"], [True] * 10)))
    assert refusal() == (f"data.protocol.root: {path}: image unknown/000019 is no image; it begins with b'?'")
