"""Many runs at once: one fresh process a run, one run a GPU, or a share of the CPUs.

The processes are forked from a server that has imported torch and never touched CUDA, so that a run starts in
milliseconds and shares no state with another. A run that dies takes nobody with it.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from bench.errors import BenchError, Killed, Pruned, UserError
from bench.interrupts import Interrupts
from bench.progress import Progress, Quiet
from bench.results import RunFolder, RunRecord
from bench.tracking import close_abandoned

if TYPE_CHECKING:
    from bench.config import RunConfig

_KILL_AFTER_S = 30.0  # a run that got SIGTERM may need this long for its checkpoint


@dataclass(frozen=True)
class Job:
    """One run to do.

    Args:
        source: path or name of the configuration.
        overrides: `key=value`, the seed among them.
        title: what people see.
        config_hash: of the configuration as it was checked; a file edited meanwhile is noticed.
        folder: of the run.
        test: evaluate the test protocols at the end.
    """

    source: str
    overrides: tuple[str, ...]
    title: str
    config_hash: str
    folder: Path
    test: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a job ended: a record, or an error in one line.

    Args:
        pruned: whoever heard its validation ended it; the record tells how far it came.
        died: nobody meant its process to end (out of memory, kill -9): another attempt may go better.
    """

    job: Job
    record: RunRecord | None
    error: str | None = None
    exit_code: int = 0
    pruned: bool = False
    died: bool = False


@dataclass(frozen=True)
class Slot:
    """Where one run at a time has its place.

    Args:
        threads: of the CPU, for runs that leave their number open.
        device: for runs that leave it open; "auto" where there is no GPU.
        processes: that train one run together, each with so many threads and, by "auto", a GPU of its own.
    """

    threads: int
    device: str = "auto"
    processes: int = 1

    def overrides(self, config: RunConfig) -> tuple[str, ...]:
        """What this place settles of what the configuration leaves open."""
        threads = (f"runtime.threads={self.threads}",) if config.runtime.threads == "auto" else ()
        device = (f"runtime.device={self.device}",) if config.runtime.device == "auto" else ()
        return threads + device


def choose_slots(workers: int | Literal["auto"], num_jobs: int) -> list[Slot]:
    """One slot a GPU; without one, slots that divide the CPUs.

    Args:
        workers: how many, or `auto`: one a GPU, else one a CPU.
        num_jobs: more slots than jobs are of no use.

    Raises:
        UserError: more workers than GPUs.
    """
    import torch

    from bench.device import usable_cpus

    num_gpus = torch.cuda.device_count()  # does not create a CUDA context
    if num_gpus:
        if workers != "auto" and workers > num_gpus:
            raise UserError(f"--workers {workers}: this machine has {num_gpus} GPUs, one run takes one")
        count = min(num_gpus if workers == "auto" else workers, num_jobs)
        threads = max(1, usable_cpus() // count)
        return [Slot(threads, f"cuda:{gpu}") for gpu in range(count)]
    cpus = usable_cpus()
    count = min(cpus if workers == "auto" else workers, num_jobs)
    return [Slot(max(1, cpus // count))] * count


def run_jobs(
    jobs: Sequence[Job],
    slots: Sequence[Slot],
    progress_of: Callable[[Job], Progress],
    *,
    resume: bool = False,
    again: bool = False,
    on_start: Callable[[Job], None] = lambda job: None,
    on_end: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Do all jobs, as many at a time as there are slots; outcomes in the order of the jobs.

    SIGINT or SIGTERM ends the running ones as KILLED, with a checkpoint, and starts no more.

    Raises:
        Killed: a signal came; every process has ended.
    """
    waiting = list(jobs)
    outcomes: dict[Job, Outcome] = {}
    with Interrupts() as interrupts, interrupts.held(), Pool(slots, resume=resume, again=again) as pool:
        while waiting or pool.running:
            interrupts.check()
            while waiting and pool.has_room:
                job = waiting.pop(0)
                pool.start(job, progress_of(job))
                on_start(job)
            for outcome in pool.wait(0.5):
                outcomes[outcome.job] = outcome
                on_end(outcome)
    return [outcomes[job] for job in jobs]


class Pool:
    """Processes that do jobs. As the block ends, those still at work are asked to end, with a checkpoint.

    Args:
        slots: so many jobs at a time.
        resume: continue what was interrupted.
        again: train anew what has finished.
    """

    def __init__(self, slots: Sequence[Slot], *, resume: bool = False, again: bool = False) -> None:
        self._context = multiprocessing.get_context("forkserver")
        # Half a second for the figures of a finished run, which no run should pay again.
        self._context.set_forkserver_preload(["bench.engine", "reports.figures"])
        self._free = list(slots)
        self._resume = resume
        self._again = again
        self._workers: dict[Connection, _Worker] = {}

    @property
    def running(self) -> list[Job]:
        """Jobs whose process has not ended."""
        return [worker.job for worker in self._workers.values()]

    @property
    def has_room(self) -> bool:
        """Whether another job can start."""
        return bool(self._free)

    def start(self, job: Job, progress: Progress) -> int:
        """A process for a job; its news go to `progress`, whose `validation` may end it by raising Pruned.

        Returns:
            The process id.
        """
        ours, theirs = self._context.Pipe()
        slot = self._free.pop()
        first, *others = _ranks(slot.processes)
        process = self._context.Process(
            target=_work, args=(job, slot, first, theirs, self._resume, self._again), name=job.title
        )
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        followers = [
            self._context.Process(
                target=_follow, args=(job, slot, rank, self._resume, self._again), name=job.title
            )
            for rank in others
        ]
        for follower in followers:
            follower.start()
        self._workers[ours] = _Worker(job, slot, process, followers, ours, progress)
        assert process.pid is not None
        return process.pid

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Pass news on for at most so long; the jobs that have ended."""
        outcomes = []
        for worker in self._workers.values():
            if time.monotonic() > worker.kill_at:
                worker.process.kill()
        for connection in wait(list(self._workers), timeout=timeout_s):
            worker = self._workers[connection]  # type: ignore[index]
            outcome = worker.receive()
            if outcome is not None:
                del self._workers[worker.connection]
                self._free.append(worker.slot)
                outcomes.append(outcome)
        return outcomes

    def end(self, job: Job, reason: str) -> None:
        """Have a job end, by force if need be; `wait` then returns it, with `reason` as error."""
        worker = next(worker for worker in self._workers.values() if worker.job == job)
        if worker.reason is None:
            worker.reason = reason
            worker.kill_at = time.monotonic() + _KILL_AFTER_S
            worker.process.terminate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _end(list(self._workers.values()))


class _Worker:
    """One process, what it says, and those that train with it and say nothing."""

    def __init__(
        self,
        job: Job,
        slot: Slot,
        process: ForkServerProcess,
        followers: Sequence[ForkServerProcess],
        connection: Connection,
        progress: Progress,
    ) -> None:
        self.job = job
        self.slot = slot
        self.process = process
        self._followers = followers
        self.connection = connection
        self.reason: str | None = None  # why it was ended from here
        self.kill_at = math.inf
        self._progress = progress
        self._pruned: str | None = None
        self._error: tuple[int, str] | None = None

    def receive(self) -> Outcome | None:
        """Pass one message on; an Outcome when it was the last."""
        try:
            kind, *arguments = self.connection.recv()
        except (EOFError, ConnectionResetError):
            return self._outcome()
        if kind == "error":
            self._error = (arguments[0], arguments[1])
        elif kind == "validation":
            try:
                self._progress.validation(*arguments)
            except Pruned as pruned:
                self._pruned = pruned.reason
            self.answer(self._pruned)
        else:
            getattr(self._progress, kind)(*arguments)
        return None

    def answer(self, pruned: str | None) -> None:
        """The run waits for this after each validation: None, or why it is to end."""
        with suppress(OSError):  # it has ended meanwhile
            self.connection.send(pruned)

    def end_followers(self) -> str | None:
        """The first process has ended, and these write nothing; how one had ended before, if by a signal."""
        codes = [follower.exitcode for follower in self._followers]
        for follower in self._followers:
            follower.kill()
            follower.join()
        return next((_exit(code) for code in codes if code is not None and code < 0), None)

    def _outcome(self) -> Outcome:
        self.process.join()
        self.connection.close()
        lost = self.end_followers()
        if self.process.exitcode != 0:
            close_abandoned(RunFolder(self.job.folder))
        if self.reason is not None:
            return Outcome(self.job, None, self.reason, 1)
        if self._pruned is not None:
            return Outcome(self.job, RunFolder(self.job.folder).record(), pruned=True)
        if lost is not None and (self._error is not None or self.process.exitcode != 0):
            return Outcome(self.job, None, f"one of its processes died ({lost})", 1, died=True)
        if self._error is not None:
            return Outcome(self.job, None, self._error[1], self._error[0])
        if self.process.exitcode != 0:
            return Outcome(self.job, None, f"its process died ({_exit(self.process.exitcode)})", 1, died=True)
        return Outcome(self.job, RunFolder(self.job.folder).record())


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
        worker.answer(None)  # should it wait for one
    deadline = time.monotonic() + _KILL_AFTER_S
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.end_followers()


def _ranks(processes: int) -> list[dict[str, str]]:
    """What torchrun would tell each of the processes of one run; nothing to one that is alone."""
    if processes == 1:
        return [{}]
    with socket.create_server(("127.0.0.1", 0)) as server:  # free now, and the next moment theirs
        port = server.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def _work(
    job: Job, slot: Slot, rank: Mapping[str, str], connection: Connection, resume: bool, again: bool
) -> None:
    """In the new process: do the job, say how it went."""
    progress = _Pipe(connection)
    logger = logging.getLogger("bench")
    logger.addHandler(_PipeHandler(progress))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    os.setpgid(0, 0)  # Ctrl-C reaches the parent alone, which then asks every run to end
    try:
        _run(job, slot, rank, resume, again, progress)
    except BenchError as error:
        progress.error(error.exit_code, str(error))
    except Pruned:
        pass  # the parent knows
    except Killed as error:
        progress.error(1, f"killed by {error}")
    except Exception as error:
        progress.error(1, f"{type(error).__name__}: {error}")
        raise  # the traceback is for the log


def _follow(job: Job, slot: Slot, rank: Mapping[str, str], resume: bool, again: bool) -> None:
    """In a new process: train with the first one of the job, which says how it goes."""
    logging.getLogger("bench").addHandler(logging.NullHandler())
    os.setpgid(0, 0)
    try:
        _run(job, slot, rank, resume, again, Quiet())
    except BenchError as error:
        raise SystemExit(error.exit_code) from None
    except Killed:
        pass


def _run(
    job: Job, slot: Slot, rank: Mapping[str, str], resume: bool, again: bool, progress: Progress
) -> None:
    from bench.config import load_config
    from bench.engine import run

    os.environ.update(rank)
    config = load_config(job.source, job.overrides)
    config = load_config(job.source, (*job.overrides, *slot.overrides(config)))
    if config.hash != job.config_hash:
        raise UserError(f"{job.source}: was edited while its runs were waiting; start them again")
    run(config, resume=resume, again=again, track=False, test=job.test, progress=progress)


class _PipeHandler(logging.Handler):
    """What the run logs, as news for the parent's board."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        tell = self._progress.note if record.levelno >= logging.WARNING else self._progress.stage
        tell(self.format(record))


class _Pipe:
    """Progress that travels to the parent. A parent that is gone asks this run to end, with a checkpoint."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_orphan = False

    def stage(self, text: str) -> None:
        self._send("stage", text)

    def note(self, text: str) -> None:
        self._send("note", text)

    def step(self, step: int, total_steps: int, images_per_s: float, loss: float) -> None:
        self._send("step", step, total_steps, images_per_s, loss)

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._send("validation", step, dict(metrics))
        try:
            reason = self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._end()
            return
        if reason is not None:
            raise Pruned(reason)

    def error(self, exit_code: int, message: str) -> None:
        self._send("error", exit_code, message)

    def _send(self, *message: Any) -> None:
        try:
            self._connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            self._end()

    def _end(self) -> None:
        if not self._is_orphan:  # a second signal would not wait for the checkpoint
            self._is_orphan = True
            os.kill(os.getpid(), signal.SIGTERM)
