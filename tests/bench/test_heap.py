"""Memory that a step gives back stays with the process; each case in a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
import torch
from bench.heap import keep_freed_memory

def pages_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.empty(20 * 2**20, dtype=torch.uint8).fill_(1) for _ in range(6)]
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
pages = [pages_of_a_step() for _ in range(6)]
print(kept, sum(pages[2:]))
"""


def pages(how: str, **environment: str) -> tuple[str, int]:
    inherited = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    ended = subprocess.run(
        [sys.executable, "-c", STEPS, how],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    said, number = ended.stdout.split()
    return said, int(number)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, whose heap can be told so")
def test_a_step_takes_the_memory_that_the_step_before_gave_back() -> None:
    _, without = pages("leave")
    said, kept = pages("keep")
    assert said == "True"
    assert kept < without / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, whose heap can be told so")
def test_what_the_environment_says_of_it_goes_first() -> None:
    said, number = pages("keep", MALLOC_TRIM_THRESHOLD_="0")
    assert said == "False"
    assert number > 1000


def test_where_the_c_library_cannot_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import heap

    monkeypatch.setattr(heap.sys, "platform", "darwin")
    assert heap.keep_freed_memory() is False
    monkeypatch.undo()
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: object())  # musl has no such function
    assert heap.keep_freed_memory() is False
