"""insightface's train.rec and .bin, read without mxnet and without running what a pickle asks for."""

from __future__ import annotations

import io
import logging
import os
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import UserError
from bench.images import decode_all, decode_image, list_records, read_bin

from ..insightface import MAGIC, write_records
from ..pictures import encoded, picture

IMAGES = [(person, encoded(picture(f"{person} {number}"))) for person in (7, 2, 11) for number in range(3)]


def refusal(call: Any, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        call(path, "data.root")
    return str(caught.value)


@pytest.mark.parametrize("extra", [(), (0.5, 3.0)])
def test_every_image_belongs_to_its_person_and_is_its_bytes(tmp_path: Path, extra: tuple[float, ...]) -> None:
    files = list_records(write_records(tmp_path, IMAGES, extra=extra), "data.root")
    assert files.identities == ("0000002", "0000007", "0000011")
    assert files.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    expected = [image for person in (2, 7, 11) for whose, image in IMAGES if whose == person]
    assert [files.blobs.read(row) for row in range(9)] == expected
    assert list_records(tmp_path / "train.rec", "data.root").names == files.names


def test_an_image_that_holds_the_magic_number_is_joined_again(tmp_path: Path) -> None:
    hostile = [b"abcd" + MAGIC + b"efg", MAGIC * 3, b"x" * 8 + MAGIC, b"odd" + MAGIC, b""]
    files = list_records(write_records(tmp_path, [(0, image) for image in hostile]), "x")
    assert [files.blobs.read(row) for row in range(5)] == hostile


def test_records_without_a_list_of_people_are_all_images(tmp_path: Path) -> None:
    folder = write_records(tmp_path, IMAGES)
    lines = (folder / "train.idx").read_text().splitlines()
    (folder / "train.idx").write_text("\n".join(lines[1:-3]) + "\n")
    assert len(list_records(folder, "x")) == 9


def test_a_record_that_the_file_ends_in_is_an_unreadable_image(tmp_path: Path) -> None:
    folder = write_records(tmp_path, IMAGES)
    files = list_records(folder, "x")
    offset = int(files.blobs.offsets[0])  # type: ignore[attr-defined]
    rec = bytearray((folder / "train.rec").read_bytes())
    rec[offset : offset + 4] = b"gone"
    (folder / "train.rec").write_bytes(rec[:-200])
    failures = [failure for part in decode_all(files.blobs, 9, 16, workers=1) for failure in part.failures]
    assert failures == [
        (0, "cannot be read: no record begins where the index says"),
        (8, "cannot be read: the file ends in the middle of it"),
    ]
    assert refusal(list_records, folder) == (
        f"data.root: {folder}/train.rec: is no insightface .rec, or a damaged one: no record begins at byte "
        f"{offset:,}, where the index says"
    )


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    folder = write_records(tmp_path, IMAGES)
    index = (folder / "train.idx").read_text()
    size = (folder / "train.rec").stat().st_size
    begin = f"data.root: {folder}/train.rec: is no insightface .rec, or a damaged one: "
    (folder / "train.idx").write_text(index.replace("\n4\t", "\n99\t"))
    assert refusal(list_records, folder) == f"{begin}record 0 promises images 1 to 9, but the index lacks 4"
    (folder / "train.idx").write_text(index + "4\t999999\n")
    assert refusal(list_records, folder) == (
        f"{begin}the index points to byte 999,999, but it ends at {size:,}"
    )
    (folder / "train.idx").write_text("0\t0\nfour\t8\n")
    assert refusal(list_records, folder) == (
        f"data.root: {folder}/train.idx:2: must be 'key<TAB>offset', got 'four\\t8'"
    )
    (folder / "train.idx").unlink()
    assert refusal(list_records, folder) == (
        f"data.root: {folder}/train.idx: does not exist; it belongs beside the .rec"
    )
    (folder / "train.idx").write_text(index)
    (folder / "train.rec").write_bytes(b"")
    assert refusal(list_records, folder).startswith(f"data.root: {folder}/train.rec: cannot be read")


def test_a_property_that_says_otherwise_is_worth_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_records(tmp_path, IMAGES)
    with caplog.at_level(logging.WARNING):
        list_records(folder, "x")
        assert not caplog.messages
        (folder / "property").write_text("10572,112,112")
        list_records(folder, "x")
    assert caplog.messages == [f"{folder}/property: promises 10572 people, but the records show 3"]


FACES = [encoded(picture(f"pair {number}")) for number in range(6)]
SAME = [True, False, True]


def python_2(images: list[bytes], same: list[bool]) -> bytes:
    """What Python 2 wrote: images are `str`, protocol 2."""
    body = b"\x80\x02]("
    for image in images:
        body += b"T" + struct.pack("<i", len(image)) + image
    return body + b"e](" + b"".join(b"\x88" if value else b"\x89" for value in same) + b"e\x86."


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps((FACES, SAME), protocol=4),
        pickle.dumps((FACES, SAME), protocol=2),  # bytes spelled as _codecs.encode(text, "latin1")
        pickle.dumps(([np.frombuffer(face, np.uint8) for face in FACES], np.array(SAME)), protocol=4),
        pickle.dumps((FACES, [np.bool_(value) for value in SAME]), protocol=4),
        pickle.dumps([FACES, [1, 0, 1]], protocol=0),
        python_2(FACES, SAME),
    ],
    ids=["bytes", "protocol 2", "arrays", "numpy truth", "protocol 0", "Python 2"],
)
def test_every_spelling_of_the_pairs_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lfw.bin"
    path.write_bytes(content)
    pairs = read_bin(path, "x")
    assert pairs.same.tolist() == SAME
    assert [pairs.files.blobs.read(row) for row in range(6)] == FACES
    (part,) = decode_all(pairs.files.blobs, 6, 24, workers=1)
    assert np.array_equal(part.pixels, [decode_image(face, 24) for face in FACES])


class Malicious:
    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("inside", [True, False])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, protocol: int, inside: bool) -> None:
    mark = tmp_path / "run"
    bomb = Malicious(os.mkdir, str(mark))
    content = pickle.dumps(([*FACES, bomb], SAME) if inside else bomb, protocol=protocol)
    pickle.loads(content)
    assert mark.exists()  # it does run where nobody looks
    mark.rmdir()
    path = tmp_path / "lfw.bin"
    path.write_bytes(content)
    assert refusal(read_bin, path) == (
        f"data.root: {path}: its pickle asks for {os.mkdir.__module__}.mkdir, which image pairs have no use "
        "for; nothing was run; do not trust this file"
    )
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval",
        "os.system",
        "numpy.load",
        "numpy.core.multiarray.fromfile",
        "numpy.ndarray.tofile",
        "_codecs.lookup",
        "functools.partial",
        "builtins.getattr",
        "bench.images.bins._HARMLESS",
    ],
)
def test_nothing_but_the_spelling_of_arrays_and_bytes_is_known(tmp_path: Path, name: str) -> None:
    module, _, attribute = name.rpartition(".")
    path = tmp_path / "x.bin"
    for content in (
        b"c" + module.encode() + b"\n" + attribute.encode() + b"\n.",
        b"\x80\x04\x8c"
        + bytes([len(module)])
        + module.encode()
        + b"\x8c"
        + bytes([len(attribute)])
        + attribute.encode()
        + b"\x93.",
    ):
        path.write_bytes(content)
        assert f"its pickle asks for {name}, " in refusal(read_bin, path)


def test_what_is_no_bin_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    for content, expected in (
        (b"", "is no insightface .bin, or a damaged one (Ran out of input)"),
        (FACES[0], "is no insightface .bin, or a damaged one ("),
        (pickle.dumps((FACES, SAME))[:-40], "is no insightface .bin, or a damaged one ("),
        (pickle.dumps({"a": 1}), "must hold (images, is_same), but holds a dict"),
        (pickle.dumps((FACES, SAME[:2])), "2 pairs need 4 images, but it holds 6"),
        (
            pickle.dumps(([1, 2], [True])),
            "must hold encoded images and truth values: an image is a int, not bytes",
        ),
    ):
        path.write_bytes(content)
        assert refusal(read_bin, path).startswith(f"data.root: {path}: {expected}")


def test_scrambled_pickles_end_in_a_message(tmp_path: Path) -> None:
    whole = np.frombuffer(pickle.dumps((FACES[:2], [True]), protocol=2), np.uint8)
    structure = [place for _, _, place in pickletools.genops(io.BytesIO(whole.tobytes()))]
    generator = np.random.default_rng(0)
    path = tmp_path / "x.bin"
    for _ in range(300):
        damaged = whole.copy()
        places = generator.choice([place for place in structure if place is not None], 3)
        damaged[places] = generator.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            read_bin(path, "x")
        except UserError as error:
            assert str(error).startswith(f"x: {path}: ")
