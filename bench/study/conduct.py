"""A study on this machine: trials in the pool's processes, a slot each, until N have finished.

The same loop is the whole of a study on one machine and one worker of many: what they share is in the ledger.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from bench import tracking
from bench.checkpoint import Checkpoints
from bench.engine import tracking_settings
from bench.errors import BenchError, ConfigError, Pruned
from bench.interrupts import Interrupts
from bench.pool import Job, Outcome, Pool, Slot
from bench.progress import Progress
from bench.results import RunFolder, read_metrics
from bench.study.config import StudyConfig
from bench.study.folder import StudyFolder
from bench.study.ledger import Claim, Counts, Ledger, objective_values
from bench.study.storage import Place, patiently, storage_failures

_TICK_S = 0.5
_LINK_EVERY_S = 5.0


class Board(Protocol):
    """Where a study shows how it goes."""

    def row(self, title: str) -> Progress:
        """A place for one trial."""
        ...

    def drop(self, title: str) -> None:
        """The trial of that title has ended; its place is free."""
        ...

    def note(self, text: str) -> None:
        """A line that stays."""
        ...

    def status(self, text: str) -> None:
        """How the whole stands, in place of what was said before."""
        ...


@dataclass(frozen=True)
class Ended:
    """How a study, or this machine's part in it, ended.

    Args:
        counts: of its trials.
        is_complete: as many have finished as were asked for.
    """

    counts: Counts
    is_complete: bool


@dataclass
class _Running:
    claim: Claim
    job: Job
    since: float


class _Heard:
    """The news of one trial: shown, and judged at each validation."""

    def __init__(self, row: Progress, judge: Callable[[int, Mapping[str, float]], str | None]) -> None:
        self._row = row
        self._judge = judge

    def stage(self, text: str) -> None:
        self._row.stage(text)

    def note(self, text: str) -> None:
        self._row.note(text)

    def step(self, step: int, total_steps: int, images_per_s: float, loss: float) -> None:
        self._row.step(step, total_steps, images_per_s, loss)

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._row.validation(step, metrics)
        reason = self._judge(step, metrics)
        if reason is not None:
            raise Pruned(reason)


T = TypeVar("T")


class Conductor:
    """Works on a study with the slots of this machine.

    Args:
        ledger: of the study.
        folder: of the study, on this machine.
        slots: so many trials at a time.
        board: shows it.
        timeout_s: no trial begins later than this; those that run end first.
        deliverer: delivers the trials to MLflow; None: nobody does.
        is_home: the study's own run is in `folder`; False: another machine delivers that.
        keeps_run: this process writes the study's own run; None: where it is at home.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: StudyFolder,
        slots: Sequence[Slot],
        board: Board,
        *,
        timeout_s: float | None = None,
        deliverer: tracking.Deliverer | None = None,
        is_home: bool = True,
        keeps_run: bool | None = None,
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._slots = slots
        self._board = board
        self._timeout_s = timeout_s
        self._deliverer = deliverer
        self._is_home = is_home
        self._keeps_run = is_home if keeps_run is None else keeps_run
        self._is_linked = not self._keeps_run
        self._running: dict[Job, _Running] = {}
        self._unlinked: dict[int, RunFolder] = {}
        self._durations_s: list[float] = []
        self._caught_up: set[int] = set()
        self._failures = 0
        self._said: Counts | None = None
        self._linked_at = self._beat_at = time.monotonic()
        self._started_at = time.monotonic()

    def conduct(self, interrupts: Interrupts) -> Ended:
        """Until as many trials have finished as are wanted, or the time is up.

        Raises:
            Killed: a signal came; the running trials have ended with a checkpoint, and wait to go on.
            BenchError: too many trials in a row failed, or the storage stays away.
        """
        self._interrupts = interrupts
        try:
            with Pool(self._slots, resume=True) as pool:
                while True:
                    interrupts.check()
                    wants_more = self._fill(pool)
                    if not self._running and not wants_more:
                        break
                    for outcome in pool.wait(_TICK_S):
                        self._end(outcome)
                    if not self._running:
                        time.sleep(_TICK_S)  # others are at work on the last trials
                    self._limit_time(pool)
                    self._beat()
        finally:
            for running in list(self._running.values()):
                self._requeue(running)
        self.link()
        counts = self._ledger.counts()
        return Ended(counts, counts.finished >= self._ledger.config.settings.trials)

    def link(self) -> None:
        """Note MLflow's ids of the runs that have been delivered meanwhile."""
        self._linked_at = time.monotonic()
        if not self._is_linked and (study_id := tracking.run_id_of(self._folder.run)) is not None:
            self._patiently(partial(self._ledger.link_study, study_id))
            self._is_linked = True
        for number, folder in list(self._unlinked.items()):
            run_id = tracking.run_id_of(folder)
            if run_id is not None:
                self._patiently(partial(self._ledger.link, number, run_id))
                del self._unlinked[number]

    def _fill(self, pool: Pool) -> bool:
        """Begin trials while there is room; whether there may be more to do later."""
        is_late = self._timeout_s is not None and time.monotonic() - self._started_at > self._timeout_s
        while pool.has_room and not is_late:
            claim = self._patiently(self._ledger.claim)
            if claim is None:
                break
            self._begin(pool, claim)
        counts = self._patiently(self._ledger.counts)
        if counts != self._said:
            self._said = counts
            tell = partial(standing, self._ledger, counts, self._durations_s, len(self._slots))
            self._board.status(self._patiently(tell))
        unfinished = counts.finished < self._ledger.config.settings.trials
        return unfinished and not is_late and bool(counts.running or counts.waiting)

    def _begin(self, pool: Pool, claim: Claim) -> None:
        try:
            job = self._folder.job(claim.number, claim.values)
        except ConfigError as error:  # the ends of the ranges pass, this point between them does not
            reason = error.problems[0]
            self._patiently(lambda: self._ledger.fail(claim, reason))
            self._failed(claim, reason)
            return
        self._tell_tracking(claim.number, job, "RUNNING")
        heard = _Heard(
            self._board.row(job.title),
            lambda step, metrics: self._report(claim, job, step, metrics),
        )
        self._caught_up.discard(claim.number)
        pid = pool.start(job, heard)
        self._folder.note_process(claim.number, pid)
        self._running[job] = _Running(claim, job, time.monotonic())
        if self._deliverer is not None:
            self._deliverer.watch(RunFolder(job.folder))
            self._unlinked[claim.number] = RunFolder(job.folder)

    def _report(self, claim: Claim, job: Job, step: int, metrics: Mapping[str, float]) -> str | None:
        self._catch_up(claim, job, before=step)
        return self._patiently(lambda: self._ledger.report(claim, step, metrics))

    def _catch_up(self, claim: Claim, job: Job, *, before: float) -> None:
        """Report what was evaluated and saved, but never heard, because a machine died in between.

        Such a trial goes on behind that evaluation; the next one would be taken for it.
        """
        if claim.number in self._caught_up:
            return
        self._caught_up.add(claim.number)
        wanted = [objective.metric for objective in self._ledger.config.objectives]
        for line in read_metrics(RunFolder(job.folder).metrics):
            if line.step < before and all(metric in line.metrics for metric in wanted):
                self._patiently(partial(self._ledger.report, claim, line.step, line.metrics))

    def _end(self, outcome: Outcome) -> None:
        running = self._running.pop(outcome.job)
        claim = running.claim
        self._board.drop(outcome.job.title)
        if outcome.died and self._patiently(lambda: self._ledger.may_try_again(claim)):
            self._board.note(f"trial {claim.number}: {outcome.error}; {_next_start(outcome.job)}")
            self._running[outcome.job] = running
            self._requeue(running, counts_as_start=True)
            return
        reason = outcome.error
        if outcome.pruned:
            self._patiently(lambda: self._ledger.prune(claim))
        elif outcome.record is not None:
            validation = outcome.record.validation
            self._catch_up(claim, outcome.job, before=math.inf)
            reason = self._patiently(lambda: self._ledger.complete(claim, validation))
        else:
            self._patiently(lambda: self._ledger.fail(claim, reason or "no record"))
        state = self._patiently(lambda: self._ledger.state_of(claim.number))
        self._tell_tracking(claim.number, outcome.job, state)
        if state == "FAIL":
            self._failed(claim, reason or "failed")
        else:
            self._failures = 0
            # of all its starts: the last one of a trial that was interrupted may have been short
            whole_s = outcome.record.timing.wall_s if outcome.record is not None else 0.0
            seconds = max(whole_s, time.monotonic() - running.since)
            self._durations_s.append(seconds)
            self._board.note(self._patiently(lambda: self._told(claim, state, seconds)))
        if self._keeps_run:
            self._patiently(lambda: self._folder.note(self._ledger.study.get_trials(deepcopy=False)))

    def _requeue(self, running: _Running, *, counts_as_start: bool = False) -> None:
        self._running.pop(running.job, None)
        with suppress(*storage_failures()):  # away: whoever looks next finds the trial without an owner
            self._ledger.requeue(running.claim, counts_as_start=counts_as_start)
            self._tell_tracking(running.claim.number, running.job, "WAITING")

    def _tell_tracking(self, number: int, job: Job, state: str) -> None:
        study_id = None if self._is_home else self._ledger.run_id()
        self._folder.tell_tracking(number, job, state, is_home=self._is_home, study_run_id=study_id)

    def _failed(self, claim: Claim, reason: str) -> None:
        self._failures += 1
        self._board.note(f"trial {claim.number}: failed: {reason}")
        limit = self._ledger.config.settings.failures_in_a_row
        if self._failures >= limit:
            raise BenchError(
                f"{limit} trials in a row have failed, the last one: {reason}; see to that, then the same "
                "command continues the study"
            )

    def _limit_time(self, pool: Pool) -> None:
        limit_s = self._ledger.config.settings.trial_timeout_s
        for job, running in self._running.items():
            if limit_s is not None and time.monotonic() - running.since > limit_s:
                pool.end(job, f"no end within {limit_s:g} s (study.trial_timeout_s)")

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beat_at > self._ledger.config.settings.heartbeat_s:
            self._beat_at = now
            self._patiently(self._ledger.sign_of_life)
        if now - self._linked_at > _LINK_EVERY_S:
            self.link()

    def _told(self, claim: Claim, state: str, seconds: float) -> str:
        (trial,) = [
            trial for trial in self._ledger.study.get_trials(deepcopy=False) if trial.number == claim.number
        ]
        if state == "PRUNED":
            return f"trial {claim.number}: pruned after {seconds:.0f} s"
        is_best = any(best.number == claim.number for best in self._ledger.best())
        values = objective_values(self._ledger.config.objectives, trial.values or ())
        return f"trial {claim.number}: {values} in {seconds:.0f} s{', the best so far' if is_best else ''}"

    def _patiently(self, act: Callable[[], T]) -> T:
        return patiently(act, self._ledger.place.shown, self._board.note, self._interrupts.check)


def standing(ledger: Ledger, counts: Counts, durations_s: Sequence[float], at_once: int) -> str:
    """How a study stands, in one line.

    Args:
        ledger: of the study.
        counts: of its trials.
        durations_s: of trials that have finished.
        at_once: so many trials run at a time.
    """
    wanted = ledger.config.settings.trials
    parts = [
        f"{counts.finished}/{wanted} finished",
        f"{counts.pruned} of them pruned",
        f"{counts.running} running",
        f"{counts.failed} failed",
    ]
    best = ledger.best()
    if len(best) == 1:
        values = objective_values(ledger.config.objectives, best[0].values)
        parts.append(f"best: {values} (trial {best[0].number})")
    elif best:
        parts.append(f"{len(best)} on the Pareto front")
    left = max(0, wanted - counts.finished)
    if durations_s and left:
        mean_s = sum(durations_s) / len(durations_s)
        minutes, seconds = divmod(round(mean_s * left / max(1, at_once)), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return ", ".join(parts)


def _next_start(job: Job) -> str:
    has_any = Checkpoints(RunFolder(job.folder).checkpoints, kept=1).has_any()
    return "it goes on from its last checkpoint" if has_any else "it begins again: it had no checkpoint yet"


class Conducts(Protocol):
    """Has the trials of a study done."""

    def conduct(self, interrupts: Interrupts) -> Ended:
        """As `Conductor.conduct` says."""
        ...

    def link(self) -> None:
        """As `Conductor.link` says."""
        ...


@dataclass(frozen=True)
class Parts:
    """What a study is conducted with.

    Args:
        ledger: of the study.
        folder: of the study, on this machine.
        board: shows it.
        deliverer: delivers to MLflow; None: nobody does.
        is_home: the study's own run is in `folder`.
    """

    ledger: Ledger
    folder: StudyFolder
    board: Board
    deliverer: tracking.Deliverer | None
    is_home: bool


Launch = Callable[[Parts], Conducts]


def on_this_machine(slots: Sequence[Slot], timeout_s: float | None = None) -> Launch:
    """Trials in processes of this machine, in these slots; none begins later than the timeout."""
    return lambda parts: Conductor(
        parts.ledger,
        parts.folder,
        slots,
        parts.board,
        timeout_s=timeout_s,
        deliverer=parts.deliverer,
        is_home=parts.is_home,
    )


def run_study(
    config: StudyConfig,
    place: Place,
    launch: Launch,
    board: Board,
    *,
    enqueue: Sequence[tuple[str, Mapping[str, object]]] = (),
) -> Ended:
    """A study from its beginning, or from where it stands, to its report.

    Where a storage is shared, the study's own run and report are kept by whoever began it; others only work.

    Raises:
        UserError: another study of that name, or points outside the space.
        BenchError: see `Conductor.conduct`.
        Killed: a signal came; the same command continues.
    """
    from bench.study.report import best_tags, write_report

    folder = StudyFolder(config)
    ledger = Ledger(place, config, still_runs=folder.still_runs)
    for source, values in enqueue:
        if not ledger.enqueue(values, source):  # type: ignore[arg-type]
            board.note(f"--enqueue {source}: has been tried, or waits, already")
    is_home = ledger.is_home(folder.path)
    if is_home:
        folder.begin({"study": config.name, "storage": place.shown})
        folder.note(ledger.study.get_trials(deepcopy=False))
    with Interrupts() as interrupts, interrupts.held(), ExitStack() as stack:
        deliverer = None
        if config.base.tracking.enabled:
            settings = tracking.prepare(tracking_settings(config.base), report=board.note)
            deliverer = stack.enter_context(tracking.Deliverer(settings, report=board.note))
            if is_home:
                deliverer.watch(folder.run)  # first: its parts name it
            for run in folder.trial_runs():  # of trials that ended as this command was killed
                if not tracking.is_delivered(run):
                    deliverer.watch(run)
        conductor = launch(Parts(ledger, folder, board, deliverer, is_home))
        try:
            ended = conductor.conduct(interrupts)
        except BaseException as error:
            if is_home:
                is_own = isinstance(error, BenchError)
                folder.end("FAILED" if is_own else "KILLED", {}, str(error) or type(error).__name__)
            raise
        if is_home:
            for run in folder.settle(ledger.study.get_trials(deepcopy=False)):
                if deliverer is not None:
                    deliverer.watch(run)
            write_report(ledger.study, config, folder.path)
            folder.end("FINISHED" if ended.is_complete else "KILLED", best_tags(ledger.study, config))
    conductor.link()
    return ended
