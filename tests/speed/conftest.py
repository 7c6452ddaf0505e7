"""`race`: contestants of one piece of work, timed in turns, so that other load on the machine hits all alike.

A file `tests/speed/test_<area>_speed.py` needs nothing more to appear in docs/SPEED.md:

    def test_something(race: Race) -> None:
        race("table", "row", ours=ours, peers={"facenet": theirs}, limit=("reading it", read), same=equal)

As an ordinary test it calls each contestant once and compares what they return; it never asserts a time. With
`--benchmark-enable`, or by `bench speed`, it times them. This file imports nothing of the project, because
`bench speed --compare` runs it beside older commits.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

Work = Callable[[], Any]

BUDGET_S = float(os.environ.get("BENCH_SPEED_BUDGET_S", "5"))  # of one race, all contestants together
MIN_ROUNDS, MAX_ROUNDS = 3, 41
# One thread is what sweeps give their workers, a thread a core is what a run by itself has.
THREADS = [ONE_THREAD, A_THREAD_A_CORE] = ["one torch thread", "a torch thread a core"]
ONLY_OURS = "BENCH_SPEED_ONLY_OURS" in os.environ


class Seconds(float):
    """A contestant that returns this tells its own time: that of one step, where it also has to start up."""


class Race(Protocol):
    """See the module."""

    def __call__(
        self,
        table: str,
        row: str,
        *,
        ours: Work,
        peers: Mapping[str, Work] = ...,
        limit: tuple[str, Work] | None = ...,
        same: Callable[[Any, Any], None] | None = ...,
        left_out: Mapping[str, str] = ...,
        per: float = ...,
        details: Callable[[], Mapping[str, float]] | None = ...,
        columns: Callable[[], Mapping[str, float]] | None = ...,
        size: float | None = ...,
        large: bool = ...,
        once: bool = ...,
        rounds: int = ...,
    ) -> None:
        """Time the contestants.

        Args:
            table: heading under which the row stands.
            row: what is done, with its size.
            ours: this project's.
            peers: name -> other code that does the same work.
            limit: name and work of what the machine cannot avoid; no code of ours is slower on purpose.
            same: asserts that ours and a peer's results agree; the limit's is not looked at.
            left_out: name -> why it cannot run at this size; the page says "is left out where" before it.
            per: times are divided by this: pieces of work in one call.
            details: further figures of the row, asked for after the last round.
            columns: the same, each in a column of the table.
            size: of the work, where the rows of a table differ in nothing else: the page says how time grows.
            large: takes seconds or gigabytes, so that an ordinary test run leaves it out.
            once: takes minutes, so that the first call is the only round.
            rounds: at least so many, where contestants differ by less than the machine does in a minute.
        """


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Torch's threads for as long as a test takes, of those in `THREADS`."""
    import torch

    before = torch.get_num_threads()
    # sched_getaffinity: Linux alone
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    number = cores if request.param == A_THREAD_A_CORE else 1
    torch.set_num_threads(number)
    yield number
    torch.set_num_threads(before)


def said(threads: int) -> str:
    """How a row names them."""
    return f"{A_THREAD_A_CORE}, {threads}" if threads > 1 else ONE_THREAD


@pytest.fixture
def race(benchmark: Any, request: pytest.FixtureRequest) -> Race:
    def run(
        table: str,
        row: str,
        *,
        ours: Work,
        peers: Mapping[str, Work] | None = None,
        limit: tuple[str, Work] | None = None,
        same: Callable[[Any, Any], None] | None = None,
        left_out: Mapping[str, str] | None = None,
        per: float = 1.0,
        details: Callable[[], Mapping[str, float]] | None = None,
        columns: Callable[[], Mapping[str, float]] | None = None,
        size: float | None = None,
        large: bool = False,
        once: bool = False,
        rounds: int = MIN_ROUNDS,
    ) -> None:
        if large and not benchmark.enabled:
            pytest.skip("a race of this size needs --benchmark-enable")
        contestants: dict[str, tuple[str, Work]] = {"ours": ("ours", ours)}
        if not ONLY_OURS:
            contestants |= {name: ("peer", work) for name, work in (peers or {}).items()}
            if limit is not None:
                contestants[limit[0]] = ("limit", limit[1])
        benchmark.group = f"{table}: {row}"
        is_measured = benchmark.enabled
        warm: dict[str, float] = {}
        peaks: dict[str, float | None] = {}
        result: Any = None
        for name, (role, work) in contestants.items():
            found, warm[name], peaks[name] = _once(work, with_peak=is_measured)
            if role == "ours":
                result = found
            elif role == "peer" and same is not None:
                same(result, found)
            found = None
        result = None
        if not is_measured:
            benchmark(lambda: None)
            return
        works = {name: work for name, (_, work) in contestants.items()}
        if once:
            times = {name: [warm[name]] for name in works}
        else:
            times = _in_turns(works, sum(warm.values()), rounds)
        benchmark.extra_info["race"] = {
            "table": table,
            "row": row,
            "contestants": [
                {
                    "name": name,
                    "role": role,
                    "times_s": [seconds / per for seconds in times[name]],
                    "peak_mib": peaks[name],
                }
                for name, (role, _) in contestants.items()
            ],
            "left_out": dict(left_out or {}),
            "details": dict(details()) if details is not None else {},
            "columns": dict(columns()) if columns is not None else {},
            "size": size,
            "threads": _threads(),
        }
        benchmark.pedantic(lambda: None, rounds=1)  # so that pytest-benchmark has a line for its table

    return run


def _once(work: Work, *, with_peak: bool) -> tuple[Any, float, float | None]:
    """Result, seconds and growth of the process' memory of a first call."""
    before = _start_watching_memory() if with_peak else None
    start = time.perf_counter()
    result = work()
    _wait_for_device()
    seconds = float(result) if isinstance(result, Seconds) else time.perf_counter() - start
    return result, seconds, None if before is None else max(0.0, status_mib("VmHWM") - before)


def _in_turns(works: Mapping[str, Work], warm_s: float, least: int) -> dict[str, list[float]]:
    """Rounds in which each contestant works once, in a direction that alternates."""
    rounds = min(MAX_ROUNDS, max(least, int(BUDGET_S / max(warm_s, 1e-9))))
    times: dict[str, list[float]] = {name: [] for name in works}
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            names = list(works) if number % 2 == 0 else list(reversed(works))
            for name in names:
                start = time.perf_counter()
                result = works[name]()
                _wait_for_device()
                times[name].append(
                    float(result) if isinstance(result, Seconds) else time.perf_counter() - start
                )
                del result
    finally:
        gc.enable()
    return times


def _start_watching_memory() -> float | None:
    """MiB now, after giving back what is free; None where the kernel tells no peak (no Linux)."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    except (OSError, AttributeError):
        return None
    return status_mib("VmRSS")


def status_mib(field: str) -> float:
    """What the kernel says of this process in MiB; `field` is VmRSS, now, or VmHWM, the most so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def _wait_for_device() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _threads() -> int:
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else 1
