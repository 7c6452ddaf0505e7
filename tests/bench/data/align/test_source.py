"""The pictures of folders and archives."""

from __future__ import annotations

import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from bench.data.align.source import Entry, survey
from bench.errors import UserError

from .conftest import Pack


def names(path: Path) -> list[str]:
    return [entry.name for entry in survey(path).entries()]


def test_a_folder_gives_its_pictures_in_order_and_counts_the_rest(tmp_path: Path) -> None:
    for name in (
        "b/2.JPG",
        "b/1.png",
        "a/x y\n.jpeg",
        "b/notes.txt",
        "b/.hidden.jpg",
        "ü/ß.webp",
        ".git/a.jpg",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    source = survey(tmp_path)
    entries = list(source.entries())
    assert [entry.name for entry in entries] == ["a/x y\n.jpeg", "b/1.png", "b/2.JPG", "ü/ß.webp"]
    assert (source.num_images, source.num_others) == (4, 2)
    assert entries[1].read() == b"b/1.png"


@pytest.mark.parametrize(
    ("mode", "suffix"), [("w", "tar"), ("w:gz", "tgz"), ("w:bz2", "tar.bz2"), ("w:xz", "txz")]
)
def test_an_archive_gives_the_same_names_and_bytes(pack: Pack, mode: str, suffix: str) -> None:
    members = {
        "lfw/A/A_0001.jpg": b"x" * 512,
        "lfw/A/A_0002.jpg": b"y" * 700,
        "lfw/B/B_0001.jpg": b"",
        "lfw/list": b"",
    }
    source = survey(pack(members, f"lfw.{suffix}", mode))
    entries = list(source.entries())
    assert [entry.name for entry in entries] == ["A/A_0001.jpg", "A/A_0002.jpg", "B/B_0001.jpg"]
    assert [entry.read() for entry in entries] == [b"x" * 512, b"y" * 700, b""]
    assert (source.wrapper, source.num_others) == ("lfw", 1)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["./A/1.jpg", "./B/1.jpg"], ["A/1.jpg", "B/1.jpg"]),
        (["all/lfw/A/1.jpg", "all/celeba/B/1.jpg"], ["lfw/A/1.jpg", "celeba/B/1.jpg"]),
        (["lfw/A/1.jpg", "celeba/B/1.jpg"], ["lfw/A/1.jpg", "celeba/B/1.jpg"]),
        (["A/1.jpg", "A/2.jpg"], ["A/1.jpg", "A/2.jpg"]),
        (["lfw/A/1.jpg", "lfw/1.jpg"], ["lfw/A/1.jpg", "lfw/1.jpg"]),
    ],
)
def test_only_a_folder_around_everything_is_left_out_of_the_names(
    pack: Pack, members: list[str], expected: list[str]
) -> None:
    assert names(pack(dict.fromkeys(members, b"."))) == expected


@pytest.mark.parametrize("name", ["../evil.jpg", "a/../../evil.jpg", "/evil.jpg"])
def test_a_member_that_climbs_out_is_named_and_has_no_bytes_to_give(pack: Pack, name: str) -> None:
    entries = list(survey(pack({"A/1.jpg": b".", name: b"."})).entries())
    assert [entry.problem for entry in entries] == [None, "its name leads out of the archive's folder"]


def test_links_in_archives_are_named(tmp_path: Path) -> None:
    link = tarfile.TarInfo("A/link.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        archive.addfile(link)
    (entry,) = survey(tmp_path / "links.tar").entries()
    assert entry.problem == "a link or special file in the archive"


def test_linked_folders_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.jpg").write_bytes(b".")
    root = tmp_path / "root"
    root.mkdir()
    (root / "A").symlink_to(tmp_path / "elsewhere")
    (root / "B").symlink_to(root)
    (root / "dangling.jpg").symlink_to(tmp_path / "gone")
    entries = list(survey(root).entries())
    assert [(entry.name, entry.problem) for entry in entries] == [
        ("A/1.jpg", None),
        ("dangling.jpg", "cannot be read (no such file or directory)"),
    ]


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [entry.problem for entry in survey(tmp_path).entries()] == ["not a regular file"]


@pytest.mark.parametrize("at", ["header", "content"])
def test_a_damaged_archive_is_an_error_and_not_its_end(pack: Pack, at: str) -> None:
    path = pack({f"A/{number}.jpg": bytes([number]) * 600 for number in range(4)})
    content = bytearray(path.read_bytes())
    if at == "header":
        content[2 * 1536 : 2 * 1536 + 100] = b"\xff" * 100
    else:
        del content[2 * 1536 + 700 :]
    path.write_bytes(content)
    last = "A/1.jpg" if at == "header" else "A/2.jpg"
    with pytest.raises(UserError) as caught:
        survey(path)
    assert str(caught.value) == f"{path}: the archive is damaged after {last!r}; copy or make it again"


def test_a_compressed_archive_that_was_cut_off_is_an_error(pack: Pack) -> None:
    path = pack({f"A/{number}.jpg": os.urandom(5000) for number in range(4)}, "a.tgz", "w:gz")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(
        UserError, match=r"a\.tgz: the archive is damaged after 'A/\d\.jpg'; copy or make it again$"
    ):
        survey(path)


def test_what_is_no_source_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError) as missing:
        survey(tmp_path / "gone")
    assert (
        str(missing.value) == f"{tmp_path}/gone: does not exist; name a folder of pictures or a tar archive"
    )
    (tmp_path / "a.jpg").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"a\.jpg: is neither a folder nor a tar archive that can be read \("):
        survey(tmp_path / "a.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("")
    with pytest.raises(
        UserError, match=r"empty: holds no picture \(1 other files\); names of pictures end in \.bmp, "
    ):
        survey(tmp_path / "empty")


def test_memory_does_not_grow_with_an_archive(pack: Pack) -> None:
    def peak(number: int) -> int:
        path = pack({f"lfw/{n:06d}/{n:06d}.jpg": b"." for n in range(number)}, f"{number}.tar")
        tracemalloc.start()
        assert sum(1 for _ in survey(path).entries()) == number
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # Twice: the interpreter's own table of strings may grow once, by megabytes, at a moment of its own.
    most = min(peak(4000), peak(4000))
    assert most < peak(400) + 50_000  # 3600 more tar headers would take 3 MB


def test_an_entry_reads_its_own_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    assert Entry("x", tmp_path / "file", 2, 3).read() == b"234"
    assert Entry("x", tmp_path / "file", 2).read() == b"23456789"
    assert Entry("x", tmp_path / "gone", data=b"held").read() == b"held"
