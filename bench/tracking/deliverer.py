"""Delivery in the background: a thread that never disturbs the training and never keeps it from ending."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from bench.errors import BenchError
from bench.results import RunFolder
from bench.tracking.delivery import deliver
from bench.tracking.failures import StoreUnreachable
from bench.tracking.progress import versions_of
from bench.tracking.settings import TrackingSettings, logger, redact, resolve_uri
from bench.tracking.store import known_away

_BUSY_WAIT_S = 10.0  # at the end: for another process that delivers the same folder
_SECOND_TRY_S = 1.0


@dataclass
class _Watched:
    folder: RunFolder
    seen: tuple[int, ...] = ()  # versions of the files as of the last delivery
    is_given_up: bool = False  # refused or failing; tried once more in the last round


class Deliverer:
    """Delivers watched run folders every few seconds, and a last time as the block ends.

        with Deliverer(prepare(settings)) as deliverer:
            deliverer.watch(folder)
            ...  # train; write the record, then the final state, before the block ends

    Nothing is ever raised into the block. When the store stays silent, the end of the block waits at most
    `patience_s`; what was not delivered waits in the folder. Fork worker processes before the block.

    Args:
        settings: where to, as `prepare` returned them.
        interval_s: pause between two rounds, seconds.
        patience_s: at the end, the longest wait for one answer of the store, seconds.
        report: is told each problem, one line; None: a warning of the logger `bench.tracking`.

    Raises:
        UserError: the address in `settings` is malformed.
    """

    def __init__(
        self,
        settings: TrackingSettings,
        *,
        interval_s: float = 5.0,
        patience_s: float = 15.0,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.problems: list[str] = []
        self._uri = resolve_uri(settings)
        self._settings = replace(settings, uri=self._uri)
        self._interval_s = interval_s
        self._patience_s = patience_s
        self._report = report or logger.warning
        self._watched: dict[Path, _Watched] = {}
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._is_away = self._uri in known_away  # the store does not answer, and that has been said
        self._deadline = 0.0
        self._is_left = False  # the block has ended; the thread still waits for an answer
        self._thread = threading.Thread(target=self._work, name="bench-tracking", daemon=True)

    def watch(self, folder: RunFolder) -> None:
        """Deliver this folder from now on, whenever its run has come further."""
        with self._guard:
            self._watched[folder.path] = _Watched(folder)

    def __enter__(self) -> Deliverer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._expect_answer(0.0)
        self._stop.set()
        while self._thread.is_alive() and time.monotonic() < self._deadline:
            self._thread.join(0.1)
        if self._thread.is_alive():
            self._is_left = True
            self._say_backlog(StoreUnreachable(self._uri, f"no answer in {self._patience_s:g} s"))

    def _expect_answer(self, allowance_s: float) -> None:
        self._deadline = time.monotonic() + self._patience_s + allowance_s

    def _work(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._round(is_last=False)
        self._round(is_last=True)

    def _round(self, *, is_last: bool) -> None:
        for watched in self._due(is_last=is_last):
            try:
                self._deliver_patiently(watched, is_last=is_last)
            except StoreUnreachable as error:
                self._say_away(watched, error, is_last=is_last)
                return  # all folders go to the same store
            except BenchError as error:
                watched.is_given_up = True
                self._say(str(error))
            except Exception as error:  # a bug of ours must not end the training, nor stay unseen
                watched.is_given_up = True
                logger.exception(f"{watched.folder.path}: delivery failed")
                self._say(
                    f"{watched.folder.path}: delivery to MLflow failed by a bug in bench.tracking "
                    f"({type(error).__name__}: {redact(str(error))}); the run goes on; try again with: "
                    "bench track sync"
                )

    def _due(self, *, is_last: bool) -> list[_Watched]:
        return [one for one in self._waiting() if is_last or not one.is_given_up]

    def _waiting(self) -> list[_Watched]:
        with self._guard:
            watched = list(self._watched.values())
        return [one for one in watched if one.seen != versions_of(one.folder)]

    def _deliver_patiently(self, watched: _Watched, *, is_last: bool) -> None:
        try:
            self._deliver(watched, is_last=is_last)
        except StoreUnreachable:
            if self._is_away:
                raise
            # Once again: a server may drop an idle connection at the moment it is used.
            time.sleep(_SECOND_TRY_S)
            self._deliver(watched, is_last=is_last)

    def _deliver(self, watched: _Watched, *, is_last: bool) -> None:
        versions = versions_of(watched.folder)
        delivery = deliver(
            watched.folder,
            self._settings,
            wait_s=_BUSY_WAIT_S if is_last else 0.0,
            alive=self._expect_answer,
        )
        if self._is_away:
            self._is_away = False
            known_away.discard(self._uri)
            logger.info(f"MLflow at {redact(self._uri)} answers again")
        if delivery.is_busy:
            if is_last:
                self._say(
                    f"{watched.folder.path}: another process is delivering this run to MLflow; "
                    "make sure of the rest with: bench track sync"
                )
            return
        watched.seen = versions

    def _say_away(self, watched: _Watched, error: StoreUnreachable, *, is_last: bool) -> None:
        if is_last:
            self._say_backlog(error)
        elif not self._is_away:
            self._say(
                f"{error.problem}; the run goes on, its metrics wait in {watched.folder.path}; "
                "deliver them later with: bench track sync"
            )
        self._is_away = True

    def _say_backlog(self, error: StoreUnreachable) -> None:
        waiting = [str(one.folder.path) for one in self._waiting()]
        if waiting:
            more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
            self._say(
                f"{error.problem}; what is not delivered waits in {waiting[0]}{more}; "
                "deliver it later with: bench track sync"
            )

    def _say(self, problem: str) -> None:
        # What a thread that was left behind meets adds nothing: the backlog and its remedy have been told.
        if self._is_left and threading.current_thread() is self._thread:
            return
        if problem not in self.problems:
            self.problems.append(problem)
            self._report(problem)
