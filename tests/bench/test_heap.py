"""Memory that a step gives back stays with the process; each case in a process of its own."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys

import pytest

from bench import heap

STEP = """
import sys
from pathlib import Path
import torch
from bench.heap import keep_freed_memory

def held_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
before = held_mib()
tensors = [torch.ones(2**21) for _ in range(25)]  # 8 MiB each; a new process gets them from the system
with_tensors = held_mib()
del tensors
print(kept, with_tensors - before, held_mib() - before)
"""
needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or resource.getpagesize() != 4096,
    reason="needs glibc and pages of 4 KiB",
)


def step(how: str, **environment: str) -> tuple[str, float, float]:
    """What `keep_freed_memory` says, and by how many MiB a process has grown with its tensors and after."""
    inherited = {
        name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"
    }
    ended = subprocess.run(
        [sys.executable, "-c", STEP, how],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    said, there, after = ended.stdout.split()
    return said, float(there), float(after)


@needs_glibc
def test_what_a_step_gives_back_stays_with_the_process() -> None:
    _, there, after = step("leave")
    assert there > 195
    assert after < 20
    said, there, after = step("keep")
    assert said == "True"
    assert there > 195
    assert after > 190


@needs_glibc
def test_what_the_environment_says_of_it_goes_first() -> None:
    said, there, after = step("keep", MALLOC_TRIM_THRESHOLD_="0")
    assert said == "False"
    assert there > 195
    assert after < 20


class Library:
    """A C library that knows `mallopt` and takes every setting but those refused."""

    def __init__(self, *refused: int) -> None:
        self.refused = refused
        self.asked: list[tuple[int, int]] = []

    def mallopt(self, what: int, value: int) -> int:
        self.asked.append((what, value))
        return what not in self.refused


@pytest.mark.parametrize(
    ("system", "library", "kept"),
    [
        ("linux", Library(), True),
        ("linux", Library(-1), False),
        ("linux", object(), False),  # musl
        ("darwin", Library(), False),
    ],
)
def test_only_glibc_is_told_and_its_answer_is_given(
    system: str, library: object, *, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(heap.sys, "platform", system)
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: library)
    assert heap.keep_freed_memory() is kept
    if isinstance(library, Library):
        told = [(-3, 32 * 2**20), (-1, 2**30)]
        assert library.asked == (told if system == "linux" else [])
