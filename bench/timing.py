"""Where the wall time of a run goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.profiler import record_function


class Clock:
    """Adds up seconds by part. On a GPU a part holds what the host waited for, not what ran beside it."""

    def __init__(self) -> None:
        self.parts_s: dict[str, float] = {}
        self.last_part = ""
        self._start = time.perf_counter()
        self._earlier_s = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block and add it to part `name`."""
        start = time.perf_counter()
        self.last_part = name
        try:
            with record_function(name):  # its name in a trace; without one it costs microseconds
                yield
        finally:
            self.parts_s[name] = self.parts_s.get(name, 0.0) + time.perf_counter() - start

    @property
    def wall_s(self) -> float:
        """Seconds since the clock was made, and those of the attempts that a resumed run goes on from."""
        return self._earlier_s + time.perf_counter() - self._start

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"parts_s": dict(self.parts_s), "wall_s": self.wall_s}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Add up from there."""
        self.parts_s = dict(state["parts_s"])
        self._earlier_s = state["wall_s"]
