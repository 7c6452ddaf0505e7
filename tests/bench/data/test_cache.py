"""The cache folder: whole or not there."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bench.data import cache as cache_module
from bench.data.cache import cached
from bench.errors import UserError

PARAMETERS = {"seed": 0}


class Builder:
    """Writes two files and counts how often it was asked."""

    def __init__(self, content=b"x" * 1_000_000, delay_s=0.0):
        self.content, self.delay_s, self.calls = content, delay_s, 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "images.npy").write_bytes(self.content)
        time.sleep(self.delay_s)
        (folder / "labels.npy").write_bytes(b"labels")
        return {"checksum": "abc"}


def content(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_builds_once_and_remembers(tmp_path):
    build = Builder()
    for _ in range(2):
        manifest = cached(tmp_path / "faces", PARAMETERS, build, num_bytes=1)
    assert build.calls == 1
    assert manifest["checksum"] == "abc" and manifest["parameters"] == PARAMETERS
    assert content(tmp_path) == ["faces"]
    assert content(tmp_path / "faces") == ["images.npy", "labels.npy", "meta.json"]


def truncate(folder):
    (folder / "images.npy").write_bytes(b"x" * 10)


def overwrite(folder):
    (folder / "images.npy").write_bytes(b"\0" * 1_000_000)


def remove(folder):
    (folder / "labels.npy").unlink()


def forget(folder):
    (folder / "meta.json").unlink()


def scramble(folder):
    (folder / "meta.json").write_text('{"parameters": ')


def other_parameters(folder):
    manifest = json.loads((folder / "meta.json").read_text()) | {"parameters": {"seed": 1}}
    (folder / "meta.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (truncate, "images.npy has 10 bytes instead of 1000000"),
        (overwrite, "images.npy does not match its checksum"),
        (remove, "labels.npy is missing"),
        (forget, "meta.json is missing"),
        (scramble, "meta.json cannot be read"),
        (other_parameters, "it was made from other parameters"),
    ],
)
def test_damage_is_named_and_repaired(tmp_path, caplog, damage, named):
    folder, build = tmp_path / "faces", Builder()
    cached(folder, PARAMETERS, build, num_bytes=1)
    damage(folder)
    with caplog.at_level(logging.WARNING, "bench.data"):
        cached(folder, PARAMETERS, build, num_bytes=1)
    assert caplog.messages == [f"data.cache: {folder}: {named}; making it again"]
    assert build.calls == 2 and (folder / "images.npy").stat().st_size == 1_000_000


def test_waiting_is_said_and_only_one_builds(tmp_path, caplog):
    folder, build = tmp_path / "faces", Builder(delay_s=0.5)
    with caplog.at_level(logging.INFO, "bench.data"):
        threads = [
            threading.Thread(target=cached, args=(folder, PARAMETERS, build), kwargs={"num_bytes": 1})
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert build.calls == 1
    assert caplog.messages.count(f"waiting for another process that is making {folder}") == 2


def test_failure_while_building_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "images.npy").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "faces", PARAMETERS, fail, num_bytes=1)
    assert content(tmp_path) == []


def test_disk_full_while_building_is_a_user_error_and_leaves_nothing(tmp_path, monkeypatch):
    def fill(folder):
        (folder / "images.npy").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    usage = type("Usage", (), {"free": 20 * 2**20})
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError) as caught:
        cached(tmp_path / "faces", PARAMETERS, fill, num_bytes=3 * 2**20)
    expected = "needs 3 MiB, 20 MiB free; free some space or set BENCH_CACHE=..."
    assert str(caught.value) == f"data.cache: {tmp_path}/faces: {expected}"
    assert content(tmp_path) == []


def test_other_errors_of_the_builder_pass_unchanged(tmp_path):
    def fail(folder):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        cached(tmp_path / "faces", PARAMETERS, fail, num_bytes=1)


def test_a_file_in_the_way_is_a_user_error(tmp_path):
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot be written \(.*\); set BENCH_CACHE=\.\.\.$"):
        cached(tmp_path / "cache" / "faces", PARAMETERS, Builder(), num_bytes=1)


def test_killed_build_leaves_nothing_that_is_trusted_and_is_swept_up(tmp_path):
    folder = tmp_path / "faces"
    script = (
        "import time\nfrom pathlib import Path\nfrom bench.data.cache import cached\n"
        "def build(folder):\n"
        "    (folder / 'images.npy').write_bytes(b'half')\n"
        "    print('half', flush=True)\n"
        "    time.sleep(60)\n"
        f"cached(Path({str(folder)!r}), {PARAMETERS!r}, build, num_bytes=1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    left = content(tmp_path)
    assert len(left) == 1 and left[0].startswith(".faces-")
    build = Builder()
    cached(folder, PARAMETERS, build, num_bytes=1)
    assert build.calls == 1 and content(tmp_path) == ["faces"]
