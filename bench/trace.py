"""A few training steps under torch's profiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

# The first steps allocate, choose algorithms and compile; a trace of many fills the disk and no eye.
UNTRACED_STEPS, TRACED_STEPS = 3, 8


@contextmanager
def traced(path: Path | None) -> Iterator[Callable[[], None]]:
    """Trace some steps in the block, which calls what this yields after each of them.

    Args:
        path: of a Chrome trace (chrome://tracing, ui.perfetto.dev); None traces nothing.
    """
    if path is None:
        yield lambda: None
        return
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    plan = schedule(wait=UNTRACED_STEPS - 1, warmup=1, active=TRACED_STEPS, repeat=1)
    with profile(
        activities=activities,
        schedule=plan,
        on_trace_ready=lambda profiler: profiler.export_chrome_trace(str(path)),
    ) as profiler:
        yield profiler.step
