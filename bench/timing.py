"""Where the wall time of a run goes."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

from torch.profiler import record_function


class Clock:
    """Adds up seconds by part. On a GPU a part holds what the host waited for, not what ran beside it.

    Args:
        names_parts: whether a trace is taken, which then shows the parts by name.
    """

    def __init__(self, *, names_parts: bool = False) -> None:
        self.parts_s: dict[str, float] = {}
        self.last_part = ""
        self._names_parts = names_parts
        self._start = time.perf_counter()
        self._earlier_s = 0.0

    def part(self, name: str) -> AbstractContextManager[None]:
        """Time the block and add it to part `name`."""
        self.last_part = name
        return _Part(self.parts_s, name, record_function(name) if self._names_parts else nullcontext())

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


class _Part(AbstractContextManager[None]):
    # Entered six times a step: as a generator, named for traces that nobody takes, it cost 0.1 ms each.

    def __init__(self, parts_s: dict[str, float], name: str, named: AbstractContextManager[Any]) -> None:
        self._parts_s, self._name, self._named = parts_s, name, named

    def __enter__(self) -> None:
        self._start = time.perf_counter()
        self._named.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._named.__exit__(kind, error, trace)
        took = time.perf_counter() - self._start
        self._parts_s[self._name] = self._parts_s.get(self._name, 0.0) + took
