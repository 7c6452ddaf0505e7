"""Cores shared with other programs: counted by the kernel beside a real busy process, told once in words."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench import cores, run
from bench.cores import Cores, Shared
from bench.progress import Quiet

from .test_run import UNTRACKED

BUSY = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\nwhile True: pass"
needs_counts = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists() or not hasattr(os, "sched_setaffinity"),
    reason="needs Linux, with /proc/self/schedstat",
)


class Heard(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        if "other programs" in text:
            self.lines.append(text)


@pytest.fixture
def one_core() -> Iterator[int]:
    """The only one that this thread, and those that it starts, may run on."""
    before = os.sched_getaffinity(0)
    core = min(before)
    os.sched_setaffinity(0, {core})
    yield core
    os.sched_setaffinity(0, before)


@pytest.fixture
def neighbour(one_core: int) -> Iterator[None]:
    """A process that never rests, there too."""
    command = [sys.executable, "-c", BUSY, str(one_core)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        yield
        busy.kill()


def compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@needs_counts
@pytest.mark.usefixtures("neighbour")
def test_beside_a_busy_process_a_thread_waits_for_half_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_LEAST_S", 0.5)
    asked = Cores()
    assert asked.shared() is None  # not yet
    compute(1.5)
    shared = asked.shared()
    assert shared is not None
    assert shared.warning(1, "float32")
    assert 1.4 < shared.wall_s < 10
    assert 0.3 < shared.taken_s / shared.wall_s < 1.1
    assert 0.3 < shared.waited_s / shared.wall_s < 1.1
    assert asked.shared() is None  # of the time since that answer


@needs_counts
@pytest.mark.usefixtures("one_core")
def test_threads_of_ours_that_wait_for_each_other_are_not_other_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cores, "_LEAST_S", 0.0)
    asked = Cores()
    beside = threading.Thread(target=torch.ones(2000, 2000).matmul, args=(torch.ones(2000, 2000),))
    beside.start()  # without the interpreter's lock
    compute(1.0)
    beside.join()
    shared = asked.shared()
    assert shared is not None
    assert shared.waited_s > 0.02
    assert shared.taken_s < 0.9 * shared.wall_s  # half of the core, and more, was ours


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that stands for /proc; every question is answered at once."""
    monkeypatch.setattr(cores, "_LEAST_S", 0.0)
    monkeypatch.setattr(cores, "_PROC", tmp_path)
    return tmp_path


def counts(folder: Path, *, ticks: int, **waits_ns: int) -> None:
    """What the kernel would say."""
    (folder / "stat").write_text("cpu  9 9 9 9 9 9 9 9 9 9\n")
    with (folder / "stat").open("a") as stat:
        for number in os.sched_getaffinity(0):
            stat.write(f"cpu{number} {ticks} 0 0 7777 7777 0 0 0 0 0\n")
        stat.write("cpu99999 88888 0 0 0 0 0 0 0 0 0\nintr 1 2 3\n")
    for task in folder.glob("self/task/*/schedstat"):
        task.unlink()
    for task, wait in waits_ns.items():
        (folder / "self" / "task" / task).mkdir(parents=True, exist_ok=True)
        (folder / "self" / "task" / task / "schedstat").write_text(f"5000000000 {wait} 44\n")


@needs_counts
def test_idle_time_other_cores_and_threads_that_ended_do_not_count(
    monkeypatch: pytest.MonkeyPatch, kernel: Path
) -> None:
    monkeypatch.setattr("time.process_time", lambda: 0.0)
    hertz, num_cores = os.sysconf("SC_CLK_TCK"), len(os.sched_getaffinity(0))
    counts(kernel, ticks=100 * hertz, main=1_000_000_000, ends=7_000_000_000)
    asked = Cores()
    counts(kernel, ticks=103 * hertz, main=3_500_000_000, begins=250_000_000)
    shared = asked.shared()
    assert shared is not None
    assert shared.taken_s == pytest.approx(3 * num_cores)
    assert shared.waited_s == pytest.approx(2.5)  # of the thread that waited longest


@needs_counts
@pytest.mark.parametrize("missing", ["stat", "schedstat"])
def test_a_kernel_that_does_not_count_gives_no_answer(missing: str, kernel: Path) -> None:
    counts(kernel, ticks=1, main=1)
    for file in kernel.rglob(missing):
        file.write_text("\n")
    assert Cores().shared() is None
    for file in kernel.rglob(missing):
        file.unlink()
    assert Cores().shared() is None


@needs_counts
def test_cores_that_have_changed_meanwhile_give_no_answer(
    monkeypatch: pytest.MonkeyPatch, kernel: Path
) -> None:
    counts(kernel, ticks=100, main=1)
    asked = Cores()
    assert asked.shared() is not None
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {99999})  # the rest of the machine's
    assert asked.shared() is None


def test_a_fifth_of_both_is_worth_a_warning() -> None:
    assert Shared(10.0, 2.1, 2.1).warning(2, "float32")
    assert Shared(10.0, 1.9, 9.0).warning(2, "float32") is None
    assert Shared(10.0, 9.0, 1.9).warning(2, "float32") is None


@pytest.mark.parametrize(
    ("threads", "precision", "end"),
    [
        (2, "float32", "; stop it and go on with --resume and fewer runtime.threads (now 2)"),
        (
            2,
            "bf16",
            ", in bf16 up to tens of times as long; "
            "stop it and go on with --resume and fewer runtime.threads (now 2)",
        ),
        (1, "bf16", "; let fewer run at a time"),
    ],
)
def test_the_warning_names_what_helps(threads: int, precision: str, end: str) -> None:
    assert Shared(12.3, 9.4, 11.6).warning(threads, precision) == (
        "other programs or runs took 9 s of this run's cores in the last 12 s, and its threads waited up to "
        f"12 s for one: steps take longer{end}"
    )


@needs_counts
@pytest.mark.usefixtures("workspace", "neighbour")
def test_a_run_beside_a_busy_process_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_LEAST_S", 0.3)
    heard = Heard()
    run(
        "tiny.yaml",
        [*UNTRACKED, "train.max_steps=400", "train.epochs=100", "evaluate.every_epochs=100"],
        progress=heard,
    )
    (line,) = heard.lines
    assert line.endswith(": steps take longer; let fewer run at a time")
