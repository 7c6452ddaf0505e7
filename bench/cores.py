"""How much other programs take of this process' cores, and how long its threads wait for one."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_LEAST_S = 10.0  # of wall time in one answer
_PROC = Path("/proc")
_NOTABLE = 0.2


@dataclass(frozen=True)
class Shared:
    """How cores were shared with other programs.

    Args:
        wall_s: in so many seconds.
        taken_s: processor time that others had of the cores, all cores together.
        waited_s: seconds in which a thread of ours could have run and had no core, of the one that waited
            longest.
    """

    wall_s: float
    taken_s: float
    waited_s: float

    def warning(self, threads: int, precision: str) -> str | None:
        """A line where steps are clearly slower for it: a thread waits a fifth of the time or more.

        The others then wait for that one at the end of their loop. Waits alone may be for other threads of
        ours (the one that reads), and what others take alone may be of cores that we have no use for.

        Args:
            threads: of the run's own computing.
            precision: of its training, `train.precision`.
        """
        if min(self.taken_s, self.waited_s) <= _NOTABLE * self.wall_s:
            return None
        # oneDNN's threads spin as they wait for one that has no core
        more = ", in bf16 up to tens of times as long" if threads > 1 and precision == "bf16" else ""
        remedy = (
            f"stop it and go on with --resume and fewer runtime.threads (now {threads})"
            if threads > 1
            else "let fewer run at a time"
        )
        return (
            f"other programs or runs took {self.taken_s:.0f} s of this run's cores in the last "
            f"{self.wall_s:.0f} s, and its threads waited up to {self.waited_s:.0f} s for one: steps take "
            f"longer{more}; {remedy}"
        )


class Cores:
    """Asks the kernel, which counts both (Linux)."""

    def __init__(self) -> None:
        self._last = _Counts.now()

    def shared(self) -> Shared | None:
        """Since the last answer; None if that is not ten seconds ago, or where the kernel does not tell."""
        if time.monotonic() - self._last.at_s < _LEAST_S:
            return None
        before, self._last = self._last, _Counts.now()
        return self._last.since(before)


@dataclass(frozen=True)
class _Counts:
    at_s: float
    busy_s: dict[str, float]  # of each core that we may use, by whomever
    own_s: float
    waits_s: dict[str, float]  # of each thread

    @classmethod
    def now(cls) -> _Counts:
        return cls(time.monotonic(), _busy_s(), time.process_time(), _waits_s())

    def since(self, before: _Counts) -> Shared | None:
        if not self.waits_s or not self.busy_s or self.busy_s.keys() != before.busy_s.keys():
            return None
        busy_s = sum(self.busy_s[core] - before.busy_s[core] for core in self.busy_s)
        waits_s = [self.waits_s[task] - before.waits_s.get(task, 0.0) for task in self.waits_s]
        others_s = max(0.0, busy_s - (self.own_s - before.own_s))
        return Shared(self.at_s - before.at_s, others_s, max(waits_s))


def _busy_s() -> dict[str, float]:
    """Of proc(5): `cpu0 user nice system idle iowait irq softirq steal ...`, in ticks since the start."""
    if not hasattr(os, "sched_getaffinity"):
        return {}
    wanted = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    busy_s = {}
    try:
        for line in (_PROC / "stat").read_text().splitlines():
            name, *counts = line.split() or [""]
            if name in wanted:
                user, nice, system, _, _, irq, softirq, steal, *_ = map(int, counts)
                busy_s[name] = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return {}
    return busy_s


def _waits_s() -> dict[str, float]:
    """Thread -> seconds on the run queue so far, the second number of its schedstat (sched-stats.rst)."""
    waits_s = {}
    for task in (_PROC / "self" / "task").glob("*/schedstat"):
        try:
            waits_s[task.parent.name] = int(task.read_text().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):  # it has just ended
            continue
    return waits_s
