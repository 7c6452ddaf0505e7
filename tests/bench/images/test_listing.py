"""Finding images and the people they show, in folders and tars."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError, UserError
from bench.images import decode_all, list_folder, list_tar
from bench.images.folders import folder_fingerprint

from ..pictures import as_tar, encoded, picture, write_people, write_tar

ODD = ("with space", "Zoë", "line\nbreak", "quote'\"", "-dash", "%s", "Ünï/cödé".replace("/", "_"))
A = encoded(picture("A"))


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        (list_folder if path.is_dir() else list_tar)(path, "data.root")
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", "./", "celeba/", "a/b/c/"])
def test_a_tar_is_listed_as_its_folder_is_wherever_the_people_lie(tmp_path: Path, prefix: str) -> None:
    root = write_people(tmp_path / "faces", {"B": 2, "A": 3})
    folder, tar = list_folder(root, "x"), list_tar(as_tar(root, tmp_path / "x.tar", prefix=prefix), "x")
    assert folder.identities == tar.identities == ("A", "B")
    assert folder.names == tar.names
    assert folder.labels.tolist() == tar.labels.tolist() == [0, 0, 0, 1, 1]
    for row in range(5):
        assert folder.blobs.read(row) == tar.blobs.read(row) == (root / folder.names[row]).read_bytes()


def test_odd_names_are_only_names(tmp_path: Path) -> None:
    write_people(tmp_path / "faces", dict.fromkeys(ODD, 1))
    raw = os.fsencode(tmp_path / "faces") + b"/not\xffutf8"
    Path(os.fsdecode(raw)).mkdir()
    Path(os.fsdecode(raw + b"/1.jpg")).write_bytes(A)
    files = list_folder(tmp_path / "faces", "x")
    assert set(files.identities) == {*ODD, "not\udcffutf8"}
    assert all(files.blobs.read(row) for row in range(len(files)))
    assert len(folder_fingerprint(tmp_path / "faces", "x")) == 64


def test_other_files_are_counted_not_taken(tmp_path: Path) -> None:
    root = write_people(tmp_path / "faces", {"A": 1})
    for name in ("Thumbs.db", ".DS_Store", "._A_0001.jpg", "note.txt"):
        (root / "A" / name).write_bytes(b"x")
    assert (list_folder(root, "x").num_ignored, len(list_folder(root, "x"))) == (4, 1)
    members = {"A/A.jpg": A, "A/._A.jpg": b"x", "README": b"x"}
    tar = list_tar(write_tar(tmp_path / "x.tar", members), "x")
    assert (tar.num_ignored, tar.names) == (2, ("A/A.jpg",))


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    root = write_people(tmp_path / "faces", {"A": 1})
    (root / "A" / "again").symlink_to(root)
    elsewhere = write_people(tmp_path / "elsewhere", {"C": 2})
    (root / "C").symlink_to(elsewhere / "C")
    assert list_folder(root, "x").names == ("A/A_0001.jpg", "C/C_0001.jpg", "C/C_0002.jpg")


def test_members_that_climb_out_are_refused(tmp_path: Path) -> None:
    for name in ("../../etc/cron.d/x.jpg", "/etc/x.jpg", "a/../../x/y.jpg"):
        tar = write_tar(tmp_path / "x.tar", {"A/a.jpg": A, name: A})
        assert refusal(tar) == (
            f"data.root: {tar}: member {name!r} climbs out of the archive; do not trust this file"
        )


def test_links_in_a_tar_lead_to_its_own_members_or_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind, target in (
            ("A/a.jpg", tarfile.REGTYPE, ""),
            ("A/b.jpg", tarfile.LNKTYPE, "A/a.jpg"),
            ("A/c.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            entry.size = len(A) if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(A))
    files = list_tar(path, "x")
    assert files.names == ("A/a.jpg", "A/b.jpg")
    assert files.blobs.read(1) == A
    assert files.num_ignored == 1


def test_the_last_of_members_with_one_name_counts(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"A/a.jpg": b"old"})
    with tarfile.open(path, "a") as archive:
        entry = tarfile.TarInfo("./A/a.jpg")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"new"))
    files = list_tar(path, "x")
    assert (len(files), files.blobs.read(0)) == (1, b"new")


def test_what_is_no_plain_tar_says_so(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", {"A/a.jpg": A})
    packed = tmp_path / "x.tar.gz"
    packed.write_bytes(gzip.compress(tar.read_bytes()))
    assert refusal(packed) == (
        f"data.root: {packed}: is compressed, and a tar is read in place; decompress it first: gunzip"
    )
    text = tmp_path / "text.tar"
    text.write_text("nothing of the kind " * 100)
    assert refusal(text) == f"data.root: {text}: is no tar, or a damaged one (invalid header)"
    text.write_bytes(tar.read_bytes()[:600])
    assert refusal(text).startswith(f"data.root: {text}: is no tar, or a damaged one (")


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.jpg", "A/b.jpg"], "'a.jpg' is in no identity's folder; expected IDENTITY/image.jpg"),
        (
            ["A/a.jpg", "B/deep/b.jpg"],
            "images lie at two depths: in 'A' and in 'B/deep'; which of them are identities? "
            "Name the folder right above the identities",
        ),
        (
            ["train/A/a.jpg", "val/A/b.jpg"],
            "two folders are called 'A': 'train/A' and 'val/A'; name the folder right above the identities",
        ),
        (
            ["A/a.txt"],
            "holds no images; expected IDENTITY/image.jpg (suffixes .bmp .gif .jpeg .jpg .pgm .png .ppm .tif "
            ".tiff .webp)",
        ),
    ],
)
def test_an_unclear_level_of_identities_is_refused(tmp_path: Path, paths: list[str], expected: str) -> None:
    tar = write_tar(tmp_path / "x.tar", dict.fromkeys(paths, A))
    assert refusal(tar) == f"data.root: {tar}: {expected}"
    with tarfile.open(tar) as archive:
        if hasattr(tarfile, "data_filter"):  # since 3.11.4
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path / "x")
    assert refusal(tmp_path / "x") == f"data.root: {tmp_path / 'x'}: {expected}"


def test_several_processes_give_what_one_gives_in_order(tmp_path: Path) -> None:
    root = write_people(tmp_path / "faces", {"A": 300, "B": 300})
    (root / "A" / "A_0007.jpg").write_bytes(b"")
    (root / "B" / "B_0300.jpg").unlink()
    (root / "B" / "B_0300.jpg").symlink_to(tmp_path / "gone.jpg")
    files = list_folder(root, "x")
    one, two = (list(decode_all(files.blobs, len(files), 16, workers=workers)) for workers in (1, 2))
    assert [part.stop for part in one] == [part.stop for part in two] == [256, 512, 600]
    for left, right in zip(one, two, strict=True):
        assert np.array_equal(left.rows, right.rows)
        assert np.array_equal(left.pixels, right.pixels)
    failures = [failure for part in two for failure in part.failures]
    assert failures == [(6, "is empty"), (599, "cannot be read: No such file or directory")]


def test_a_file_that_shrank_after_it_was_listed_is_unreadable(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", {"A/a.jpg": A, "A/b.jpg": A})
    files = list_tar(tar, "x")
    os.truncate(tar, 600)
    (part,) = decode_all(files.blobs, 2, 16, workers=1)
    assert [failure[1] for failure in part.failures] == 2 * [
        f"cannot be read: {tar} ends in the middle of it"
    ]


class Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (9,)


def test_a_decoding_process_that_dies_is_one_line() -> None:
    with pytest.raises(BenchError) as caught:
        list(decode_all(Deadly(), 1000, 16, workers=2))  # type: ignore[arg-type]
    assert str(caught.value) == "a process that decodes images was killed; is there memory enough?"
