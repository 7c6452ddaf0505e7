"""Memory that a step gives back stays with the process; each case in a process of its own."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys

import pytest

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


def test_where_the_c_library_cannot_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import heap

    monkeypatch.setattr(heap.sys, "platform", "darwin")
    assert heap.keep_freed_memory() is False
    monkeypatch.undo()
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: object())  # musl has no such function
    assert heap.keep_freed_memory() is False
