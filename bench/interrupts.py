"""SIGINT, SIGTERM and SIGHUP end a run as KILLED, with a checkpoint, at a moment when that is safe."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from bench.errors import Killed


class Interrupts:
    """While entered, the first of these signals raises `Killed`; inside `held()` it waits for `check()`.

    A second signal raises KeyboardInterrupt at once, held or not. Outside the main thread, where Python
    allows no handlers, nothing is installed.
    """

    def __init__(self) -> None:
        self._held = False
        self._received: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # no SIGHUP on Windows
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def received(self) -> str | None:
        """Name of the signal that has come, if any."""
        return self._received

    def check(self) -> None:
        """Raise `Killed` when a signal has come while held."""
        if self._received:
            raise Killed(self._received)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing may be interrupted half-way in here; call `check()` where stopping is safe."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received:
            raise KeyboardInterrupt
        self._received = signal.Signals(number).name
        if not self._held:
            raise Killed(self._received)
