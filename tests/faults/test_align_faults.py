"""`bench align` killed half-way, and on a disk that is really full."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.rendered.render import render
from bench.data.rendered.streams import Split

from ..conftest import Injected

pytestmark = pytest.mark.faults

PEOPLE, EACH = 30, 4


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces") / "people"
    who = np.repeat(np.arange(PEOPLE), EACH)
    pictures = render(0, Split.TEST, who, np.tile(np.arange(EACH), PEOPLE), size_px=96, difficulty=0.2)
    for number, (person, picture) in enumerate(zip(who, pictures, strict=True)):
        path = root / f"Person_{person}" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(path)
    return root


def command(people: Path, out: Path, workers: int) -> list[str]:
    return [sys.executable, "-m", "bench", "align", str(people), str(out), "--workers", str(workers)]


def written(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*/*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def num_written(folder: Path) -> int:
    return len(list(folder.glob("*/[0-9]*.jpg")))


@pytest.fixture(scope="module")
def whole(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an alignment that nobody interrupts leaves."""
    out = tmp_path_factory.mktemp("whole") / "out"
    subprocess.run(command(people, out, 2), check=True, capture_output=True)
    return out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_after_a_kill_the_same_command_ends_as_if_nothing_had_been(
    people: Path,
    whole: Path,
    tmp_path: Path,
    number: signal.Signals,
    injected: Injected,
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(people, out, 2),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while num_written(out) < 30:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    injected("a signal or kill -9 to bench align", "the pictures at work, done again")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    if number is not signal.SIGKILL:
        assert errors.splitlines()[-1] == f"stopped by {number.name}; the same command goes on from there"
        assert not list(out.rglob(".*.part"))
    time.sleep(1.0)  # processes whose parent was killed finish what they had begun
    between = num_written(out)
    assert between < PEOPLE * EACH
    done = subprocess.run(command(people, out, 2), check=True, capture_output=True, text=True)
    kept = int(done.stdout.split(" kept from before")[0].rpartition(" ")[2])
    assert kept > 0 or number is signal.SIGKILL
    assert written(out) == written(whole)
    assert (out / "report.csv").read_bytes() == (whole / "report.csv").read_bytes()


def test_a_worker_that_dies_is_named_with_what_it_was_doing(
    people: Path, tmp_path: Path, injected: Injected
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(people, out, 2),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while num_written(out) < 10:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(worker_of(process.pid), signal.SIGKILL)
    injected("a worker of bench align dies", "the pictures at work, done again")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    last = errors.splitlines()[-1]
    assert "the process died (SIGKILL) while it worked on Person_" in last
    assert last.endswith("; run the command again: what is finished stays")


def worker_of(pid: int) -> int:
    """A process of the alignment: a child of its fork server, in a process group of its own."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = (int(fields[1]), int(fields[2]))
    servers = {child for child, (parent, _) in parents.items() if parent == pid}
    return next(child for child, (parent, group) in parents.items() if parent in servers and group == child)


def test_a_disk_that_is_full_half_way_loses_nothing(
    people: Path, whole: Path, tmp_path: Path, injected: Injected
) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("needs unshare with user namespaces, to mount a small disk")
    small, saved = tmp_path / "small", tmp_path / "saved"
    small.mkdir()
    align = " ".join(command(people, small / "out", 2))
    script = (
        f"mount -t tmpfs -o size=400k none {small} && {align}; code=$?; "
        f"mkdir {saved} && cp -r {small}/out {saved}/ && exit $code"
    )
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], check=False, capture_output=True, text=True)
    injected("a full disk under bench align", "nothing")
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"{small}/out: the disk is full; free some space and run the same command again: what is done stays"
    )
    out = saved / "out"
    assert not list(out.rglob(".*.part"))
    for name, digest in written(out).items():
        assert written(whole)[name] == digest
    again = subprocess.run(command(people, out, 2), check=True, capture_output=True, text=True)
    assert " 0 kept from before" not in again.stdout
    assert written(out) == written(whole)
    with sqlite3.connect(out / ".align.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM pictures").fetchone() == (PEOPLE * EACH,)
    connection.close()
