"""`bench data fetch lfw` against a stand-in for the mirror on this machine; `bench data list`."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sklearn.datasets import _lfw
from sklearn.datasets._base import RemoteFileMetadata

from bench.data import fetch as fetch_module
from bench.data.fetch import fetch_lfw
from bench.errors import BenchError, UserError
from bench.images import list_tar

from ..conftest import Bench
from ..pictures import encoded, picture, write_tar

PAIRS = b"1\t1\nAbel\t1\t2\nAbel\t1\tZico\t1\n"


class Mirror(ThreadingHTTPServer):
    """Serves `files`; notes the ranges it was asked for; can break off, know no ranges, or say nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.break_off_after: int | None = None
        self.knows_ranges = True
        self.silent = False

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path[1:], asked))
        if self.server.silent:
            time.sleep(3)
            return
        content = self.server.files[self.path[1:]]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.knows_ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.break_off_after])

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """Stands where scikit-learn's table points."""
    people = {
        f"lfw/{name}.jpg": encoded(picture(name), quality=100)
        for name in ("Abel/Abel_0001", "Abel/Abel_0002", "Zico/Zico_0001")
    }
    archive = gzip.compress(write_tar(tmp_path / "served.tar", people).read_bytes())
    with Mirror() as server:
        server.files = {"1": archive, "2": PAIRS}
        monkeypatch.setattr(_lfw, "ARCHIVE", metadata(server, "lfw.tgz", "1"))
        monkeypatch.setattr(_lfw, "TARGETS", (metadata(server, "pairs.txt", "2"),))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def metadata(server: Mirror, filename: str, name: str) -> RemoteFileMetadata:
    checksum = hashlib.sha256(server.files[name]).hexdigest()
    return RemoteFileMetadata(filename=filename, url=server.url(name), checksum=checksum)


def failure(folder: Path) -> str:
    with pytest.raises(BenchError) as caught:
        fetch_lfw(folder)
    return str(caught.value)


def test_the_images_come_as_a_tar_that_is_read_in_place(mirror: Mirror, tmp_path: Path) -> None:
    tar, pairs = fetch_lfw(tmp_path / "lfw")
    assert list_tar(tar, "x").names == ("Abel/Abel_0001.jpg", "Abel/Abel_0002.jpg", "Zico/Zico_0001.jpg")
    assert pairs.read_bytes() == PAIRS
    assert sorted(path.name for path in (tmp_path / "lfw").iterdir()) == ["lfw.tar", "pairs.txt"]
    mirror.asked.clear()
    assert fetch_lfw(tmp_path / "lfw") == (tar, pairs)
    assert mirror.asked == []


def test_an_interrupted_download_goes_on_where_it_ended(mirror: Mirror, tmp_path: Path) -> None:
    size = len(mirror.files["1"])
    mirror.break_off_after = 500
    url = mirror.url("1")
    checksum = hashlib.sha256(mirror.files["1"]).hexdigest()[:12]
    assert failure(tmp_path / "lfw") == (
        f"{url}: cannot be reached (the connection ended after 500 of {size:,} bytes); run this again to go "
        f"on, or without a network bring lfw.tgz (sha256 {checksum}...) into {tmp_path}/lfw by other means"
    )
    mirror.break_off_after = None
    fetch_lfw(tmp_path / "lfw")
    assert mirror.asked == [("2", None), ("1", None), ("1", "bytes=500-")]


def test_a_server_without_ranges_sends_all_again(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "lfw.tgz.part").write_bytes(b"old and wrong")
    mirror.knows_ranges = False
    tar, _ = fetch_lfw(tmp_path)
    assert len(list_tar(tar, "x")) == 3


def test_a_download_that_was_whole_is_not_asked_for_again(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "lfw.tgz.part").write_bytes(mirror.files["1"])
    fetch_lfw(tmp_path)
    assert mirror.asked[-1] == ("1", f"bytes={len(mirror.files['1'])}-")


def test_another_file_than_the_promised_one_is_removed(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["2"] = b"a page that says sorry"
    found, wanted = (hashlib.sha256(content).hexdigest()[:12] for content in (mirror.files["2"], PAIRS))
    assert failure(tmp_path) == (
        f"{mirror.url('2')}: sent a file with sha256 {found}... instead of {wanted}...; it was removed"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["served.tar"]
    (tmp_path / "pairs.txt").write_bytes(b"mine")
    mine = hashlib.sha256(b"mine").hexdigest()[:12]
    assert failure(tmp_path) == (
        f"{tmp_path}/pairs.txt: has sha256 {mine}... instead of {wanted}...; remove it and run this again"
    )


def test_without_a_network_it_says_so_in_a_moment(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/2"
    refused = RemoteFileMetadata("pairs.txt", closed, "0" * 64)
    monkeypatch.setattr(_lfw, "TARGETS", (refused,))
    assert failure(tmp_path).startswith(
        f"{closed}: cannot be reached ([Errno 111] Connection refused); run this"
    )


def test_a_mirror_that_says_nothing_is_given_up(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch_module.TIMEOUT_S <= 10
    monkeypatch.setattr(fetch_module, "TIMEOUT_S", 0.2)
    mirror.silent = True
    assert "cannot be reached (timed out); run this again" in failure(tmp_path)


def test_a_missing_page_and_a_folder_that_cannot_be_are_said(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as caught:
        fetch_lfw(tmp_path / "file" / "lfw")
    assert str(caught.value) == f"{tmp_path}/file/lfw: cannot be written (not a directory)"


@pytest.mark.usefixtures("workspace")
def test_the_command_says_how_to_use_what_it_fetched(mirror: Mirror, bench_command: Bench) -> None:
    ended = bench_command("data", "fetch", "lfw", "--to", "faces")
    assert ended.code == 0, ended.err
    assert ended.out == (
        "faces/lfw.tar: LFW's images\n"
        "faces/pairs.txt: its 6,000 pairs\n"
        "in a configuration: data: {..., protocol: {name: lfw, root: faces/lfw.tar}}\n"
    )


def test_every_known_set_has_size_terms_source_and_a_command(bench_command: Bench) -> None:
    ended = bench_command("data", "list")
    assert ended.code == 0
    blocks = [block for block in ended.out.split("\n") if block and not block.startswith(" ")]
    assert [block.partition(" (")[0] for block in blocks] == [
        "LFW",
        "CFP-FP",
        "AgeDB",
        "CASIA-WebFace",
        "CelebA",
        "VGGFace2",
        "MS1M",
        "Glint360K",
    ]
    for field in ("size", "terms", "source", "prepare"):
        assert ended.out.count(f"\n  {field} ") == len(blocks)


def test_the_addresses_are_still_where_scikit_learn_keeps_them() -> None:
    archive, pairs = fetch_module.lfw_files(funneled=True)
    assert (archive.filename, pairs.filename) == ("lfw-funneled.tgz", "pairs.txt")
    assert archive.url.startswith("https://")
    assert len(archive.checksum) == len(pairs.checksum) == 64
