"""What a run tells of its steps, with the time of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class Watched:
    """Notes the times of logged steps, and what else is asked for.

    Args:
        look: called at every logged step; what it returns is kept.
    """

    def __init__(self, look: Callable[[], float] = lambda: 0.0) -> None:
        self.wall_s: dict[int, float] = {}
        self.cpu_s: dict[int, float] = {}
        self.seen: dict[int, float] = {}
        self._look = look

    def stage(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def step(self, step: int, total_steps: int, images_per_s: float, loss: float) -> None:
        self.wall_s[step], self.cpu_s[step] = time.perf_counter(), time.process_time()
        self.seen[step] = self._look()

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        pass
