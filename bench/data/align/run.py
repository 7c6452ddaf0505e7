"""`bench align`: the whole way from a folder or an archive to aligned faces and their report."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from bench.data.align.image import Outcome, Task
from bench.data.align.journal import Journal
from bench.data.align.landmarks import Landmarks
from bench.data.align.report import write_report, write_sheet
from bench.data.align.settings import AlignSettings, settle
from bench.data.align.source import Entry, Source, survey
from bench.data.align.workers import FULL_DISK, DiskFullError, Plan, outcomes
from bench.errors import BenchError, Killed, UserError
from bench.interrupts import Interrupts
from bench.progress import Counting, Uncounted


@dataclass(frozen=True)
class Summary:
    """How an alignment ended.

    Args:
        counts: pictures by status, those of earlier runs included.
        num_kept: were done by an earlier run.
        num_others: files that are no pictures, passed over.
        wall_s: seconds.
        report: the table of everything that is not simply aligned.
        sheet: its pictures.
    """

    counts: dict[str, int]
    num_kept: int
    num_others: int
    wall_s: float
    report: Path
    sheet: Path


@dataclass(frozen=True)
class Shard:
    """One part of `count` of all pictures; `number` counts from 1. Parts may run on several machines."""

    number: int = 1
    count: int = 1

    def __contains__(self, output: str) -> bool:
        return zlib.crc32(output.encode("utf-8", "surrogateescape")) % self.count == self.number - 1

    @property
    def suffix(self) -> str:
        """Of the names of this part's files."""
        return "" if self.count == 1 else f"-{self.number}of{self.count}"


def align(
    path: Path,
    folder: Path,
    settings: AlignSettings,
    *,
    landmarks: Landmarks | None = None,
    devices: Sequence[str] = ("cpu",),
    shard: Shard = Shard(),
    progress: Counting = Uncounted(),  # noqa: B008 - has no state
) -> Summary:
    """Align every picture of `path` into `folder`. What an earlier run has done is kept.

    Args:
        path: folder `identity/picture`, or a tar archive of one.
        folder: where the faces go, under the names of their pictures.
        settings: what to do.
        landmarks: five points of every picture, in place of a detector.
        devices: one process for each: "cpu", "cuda:0", ...
        shard: which part of the pictures.
        progress: hears how far it is.

    Raises:
        UserError: a source that cannot be read, a folder that holds something else, faces of another source
            among them; nothing was written.
        BenchError: a full disk, a process that died; the same command goes on from there.
        Killed: a signal; the same command goes on from there.
    """
    began = time.perf_counter()
    _check_places(path, folder)
    source = survey(path) if landmarks is None else _survey_with(landmarks, path)
    settle(folder, settings.model_copy(update={"source": path.resolve().name}))
    with ExitStack() as stack:
        stack.enter_context(_remedy_told())
        stack.enter_context(_alone(folder / f".align{shard.suffix}.lock"))
        stack.enter_context(_full_disk_said(folder))
        journal = stack.enter_context(Journal(folder / f".align{shard.suffix}.sqlite"))
        work = _Work(source, folder, settings, journal, landmarks, shard)
        plan = Plan(settings, folder, landmarks is not None)
        _do(work, plan, devices, progress)
        report, sheet = (folder / f"report{shard.suffix}.{kind}" for kind in ("csv", "png"))
        write_report(report, journal)
        write_sheet(sheet, journal)
        return Summary(
            journal.counts(), work.num_kept, source.num_others, time.perf_counter() - began, report, sheet
        )


def _do(work: _Work, plan: Plan, devices: Sequence[str], progress: Counting) -> None:
    began, done, noteworthy = 0.0, 0, 0
    with (
        Interrupts() as interrupts,
        interrupts.held(),
        closing(outcomes(work.tasks(), plan, devices)) as results,
    ):
        for task, outcome in results:
            work.finish(task, outcome)
            began = began or time.perf_counter()  # the start of the processes says nothing about their speed
            done += 1
            noteworthy += outcome.status != "aligned"
            per_s = (done - 1) / max(time.perf_counter() - began, 1e-9)  # the first one started the clock
            so_far = work.num_kept + done
            progress.count(so_far, max(work.total, so_far), per_s, f"{noteworthy} for the report")
            interrupts.check()


class _Work:
    """The pictures of a source that are still to be aligned."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        settings: AlignSettings,
        journal: Journal,
        landmarks: Landmarks | None,
        shard: Shard,
    ) -> None:
        self._source = source
        self._folder = folder
        self._suffix = f".{settings.format}"
        self._journal = journal
        self._landmarks = landmarks
        self._shard = shard
        self._under_way: dict[str, str] = {}  # output -> picture
        self.num_kept = 0
        self.total = round(source.num_images / shard.count)

    def tasks(self) -> Iterator[Task]:
        """One by one, in the order of the source."""
        for entry in self._source.entries():
            output = str(PurePosixPath(entry.name).with_suffix(self._suffix))
            if output not in self._shard:
                continue
            name = printable(entry.name)
            known = self._journal.find(name)
            if known is not None and _is_good(known, self._folder / output):
                self.num_kept += 1
                continue
            yield self._task(entry, name, output)

    def _task(self, entry: Entry, name: str, output: str) -> Task:
        if entry.problem is not None:
            return Task(entry, name, output)
        owner = self._under_way.get(output) or self._journal.owner(printable(output))
        if owner not in (None, name):
            problem = f"its face would have the name of that of {owner}"
            return Task(Entry(entry.name, entry.path, problem=problem), name, output)
        self._under_way[output] = name
        if self._landmarks is None or entry.name not in self._landmarks:
            return Task(entry, name, output)
        return Task(entry, name, output, *self._landmarks.find(entry.name))

    def finish(self, task: Task, outcome: Outcome) -> None:
        """Write a result down."""
        self._journal.add(replace(outcome, output=printable(outcome.output)))
        if self._under_way.get(task.output) == outcome.name:
            del self._under_way[task.output]


def _is_good(known: Outcome, output: Path) -> bool:
    """Unreadable files are tried again: they may have been mended."""
    if known.status == "unreadable":
        return False
    if not known.output:
        return True
    with contextlib.suppress(OSError):
        return output.stat().st_size == known.num_bytes
    return False


def printable(name: str) -> str:
    """A name that every database and every CSV can hold: bytes that are no UTF-8 are spelled out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _check_places(path: Path, folder: Path) -> None:
    if path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
        raise UserError(f"{folder}: lies in the source {path}; name a folder beside it")


def _survey_with(landmarks: Landmarks, path: Path) -> Source:
    found, first = 0, ""

    def check(entry: Entry) -> None:
        nonlocal found, first
        first = first or entry.name
        found += entry.name in landmarks or entry.name.partition("/")[2] in landmarks

    source = survey(path, check)
    if not found:
        raise UserError(
            f"{landmarks.path}: names no picture of {path}; it says {landmarks.first!r}, the source {first!r}"
        )
    return source


@contextlib.contextmanager
def _remedy_told() -> Iterator[None]:
    try:
        yield
    except Killed as error:
        raise Killed(error.signal_name, "the same command goes on from there") from None


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{path.parent}: another 'bench align' is at work there; wait for it") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _full_disk_said(folder: Path) -> Iterator[None]:
    try:
        yield
    except (DiskFullError, sqlite3.OperationalError, OSError) as error:
        if not _is_full(error):
            raise
        raise BenchError(
            f"{folder}: the disk is full; free some space and run the same command again: what is done stays"
        ) from error


def _is_full(error: Exception) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode == sqlite3.SQLITE_FULL
    return isinstance(error, DiskFullError) or getattr(error, "errno", None) in FULL_DISK
