"""Many pictures at once: processes that are handed a few at a time. One process is this one."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from bench.data.align.image import Detect, Outcome, Task, align_image
from bench.data.align.settings import AlignSettings
from bench.errors import BenchError

# Enough to hide the way there and back; few enough that stopping takes less than a second.
_CHUNK = 8
_WAIT_S = 10.0
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Plan:
    """What every process needs to know.

    Args:
        settings: of the alignment.
        folder: where faces are written.
        is_given: landmarks come with the tasks; no detector is loaded.
    """

    settings: AlignSettings
    folder: Path
    is_given: bool

    def detector(self, device: str) -> Detect | None:
        """The detector, on one thread: several processes gain more than several threads."""
        if self.is_given:
            return None
        from bench.data.align.detector import Detector

        return Detector(device, min_face_px=self.settings.min_face_px)


class DiskFullError(BenchError):
    """A face could not be written for want of space."""


Results = Generator[tuple[Task, Outcome], None, None]


def outcomes(tasks: Iterator[Task], plan: Plan, devices: Sequence[str]) -> Results:
    """Do all tasks; one process a device, this process alone when there is only one device.

    Tasks come back with their outcomes as they are ready. Closing the iterator ends the processes; what they
    had begun is finished.

    Raises:
        DiskFullError: no space for a face.
        BenchError: a process died; the message names what it was working on.
    """
    if len(devices) == 1:
        return _here(tasks, plan, devices[0])
    return _in_processes(tasks, plan, devices)


def _here(tasks: Iterator[Task], plan: Plan, device: str) -> Results:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the processes have: the same faces, however many there are
    try:
        detect = plan.detector(device)
        for task in tasks:
            yield task, _do(task, plan, detect)
    finally:
        torch.set_num_threads(threads)


def _do(task: Task, plan: Plan, detect: Detect | None) -> Outcome:
    try:
        return align_image(task, plan.settings, plan.folder, detect)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise DiskFullError(f"{plan.folder}: the disk is full") from error
        raise BenchError(
            f"{plan.folder / task.output}: cannot be written ({(error.strerror or str(error)).lower()})"
        ) from error


@dataclass(frozen=True, eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    working_on: list[Task]


def _in_processes(tasks: Iterator[Task], plan: Plan, devices: Sequence[str]) -> Results:
    context = multiprocessing.get_context("forkserver")
    preload = [] if plan.is_given else ["bench.data.align.detector"]  # imports torch once, for all
    context.set_forkserver_preload(["bench.data.align.workers", *preload])
    workers: dict[Connection, _Worker] = {}
    try:
        for number, device in enumerate(devices):
            chunk = list(islice(tasks, _CHUNK))
            if not chunk:
                break
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, plan, device), name=f"align {number}")
            process.start()
            theirs.close()  # so that the end of the process is the end of the pipe
            workers[ours] = _Worker(process, ours, [])
            _hand(workers[ours], chunk)
        while any(worker.working_on for worker in workers.values()):
            for connection in wait(list(workers)):
                worker = workers[connection]  # type: ignore[index]
                # the next few are on their way before these are looked at
                done = list(zip(worker.working_on, _receive(worker), strict=True))
                worker.working_on.clear()
                _hand(worker, list(islice(tasks, _CHUNK)))
                yield from done
    finally:
        _end(list(workers.values()))


def _hand(worker: _Worker, chunk: list[Task]) -> None:
    if chunk:
        worker.working_on.extend(chunk)
        try:
            worker.connection.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            _receive(worker)  # it has died: says so


def _receive(worker: _Worker) -> list[Outcome]:
    try:
        answer = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        names = ", ".join(task.name for task in worker.working_on)
        raise BenchError(
            f"{worker.process.name}: the process died ({_exit(worker.process.exitcode)}) while it worked on "
            f"{names}; run the command again: what is finished stays"
        ) from None
    if isinstance(answer, BenchError):
        raise answer
    return list(answer)


def _exit(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()  # it ends when it wants to answer
    for worker in workers:
        worker.process.join(_WAIT_S)
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join()


def _work(connection: Connection, plan: Plan, device: str) -> None:
    """In the new process, until the pipe ends."""
    os.setpgid(0, 0)  # Ctrl-C reaches the parent alone
    torch.set_num_threads(1)
    detect = plan.detector(device)
    while True:
        try:
            chunk: list[Task] = connection.recv()
            answer: list[Outcome] | BenchError = []
            try:
                answer = [_do(task, plan, detect) for task in chunk]
            except BenchError as error:
                answer = error
            connection.send(answer)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
