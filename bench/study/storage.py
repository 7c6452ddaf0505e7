"""Where a study is kept: a journal in its folder, or PostgreSQL, which several machines share.

The journal is Optuna's own, so that the `optuna` command and its dashboard open it. What Optuna leaves to its
users is done here, before it is opened: a line that a kill has torn makes every later open fail, and a lock
that a killed process has left is waited for in vain.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout

from bench.config import redact_uri
from bench.config.redaction import hide_secrets
from bench.errors import BenchError, UserError, one_line
from bench.results import atomic_file
from bench.results.folder import process_start

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from sqlalchemy import Engine

_JOURNAL_LOCK_GRACE_S = 3  # Optuna warns below
_LEFT_BEHIND_S = 1.0  # Optuna holds its lock for milliseconds
_PATIENCE_S = 300.0  # a database that is restarted, or fails over
_CONNECT_TIMEOUT_S = 5

T = TypeVar("T")


def quiet_optuna() -> None:
    """No chatter of Optuna's; for good, because switching filters would race between threads."""
    import optuna
    from optuna.exceptions import ExperimentalWarning

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    # With ask and tell nobody sends signs of life but us: ledger.py does.
    warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used")


@dataclass(frozen=True)
class Place:
    """An open storage.

    Args:
        storage: Optuna's.
        shown: its address without credentials; what the `optuna` command takes as --storage.
        is_shared: other machines may work on it at the same time.
        guard: held while trials are counted and one is begun.
    """

    storage: BaseStorage
    shown: str
    is_shared: bool
    guard: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)


@contextmanager
def open_place(
    url: str | None, folder: Path, report: Callable[[str], None], *, heartbeat_s: float = 15.0
) -> Iterator[Place]:
    """The storage of a study.

    Args:
        url: postgresql+psycopg://user:password@host/database; None: the journal in `folder`.
        folder: of the study.
        report: is told what had to be repaired.
        heartbeat_s: seconds between two signs of life.

    Raises:
        UserError: another process has the journal, or the database cannot be used.
    """
    quiet_optuna()
    if url is not None:
        storage = _postgresql(url, heartbeat_s)
        try:
            shown = redact_uri(url)
            yield Place(storage, shown, is_shared=True, guard=lambda: _advisory_lock(storage.engine))
        finally:
            storage.remove_session()
            storage.engine.dispose()
        return
    with journal_lock(folder):
        yield _journal(folder / "journal.log", report)


@contextmanager
def journal_lock(folder: Path) -> Iterator[None]:
    """Only one `bench study` works on a journal; the system frees the lock when the process dies.

    Raises:
        UserError: another one does.
    """
    holder = folder / "holder.json"
    lock = FileLock(folder / "study.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: {_holder(holder)} is running this study; wait for it or stop it (several machines, "
            "or several commands at once, need --storage postgresql+psycopg://...)"
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); set runtime.runs") from None
    try:
        with atomic_file(holder) as stream:
            stream.write(json.dumps({"pid": os.getpid()}).encode())
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    try:
        return f"process {json.loads(path.read_text())['pid']}"
    except (OSError, ValueError, KeyError):
        return "another process"


def open_journal_to_read(path: Path) -> BaseStorage:
    """A journal for a look; nothing is repaired or written.

    Raises:
        UserError: damaged by a kill.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    quiet_optuna()
    with _named_journal(path):
        try:
            return JournalStorage(JournalFileBackend(str(path.absolute())))
        except JSONDecodeError as error:
            raise UserError(
                f"{path}: its last line is torn ({error}); the next 'bench study' on it repairs it"
            ) from None


@contextmanager
def _named_journal(path: Path) -> Iterator[None]:
    """Optuna replays a journal as its lines say; what lines of another kind lead to is told as what it is.

    Raises:
        UserError: the file is no journal.
    """
    try:
        yield
    except (BenchError, OSError):
        raise
    except Exception as error:  # whatever the lines happen to mean
        raise UserError(
            f"{path}: is no journal of Optuna's, or a damaged one ({type(error).__name__}: "
            f"{one_line(error, 120)}); move it away to start the study anew"
        ) from None


def _journal(path: Path, report: Callable[[str], None]) -> Place:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    # Absolute: Optuna's lock is a symbolic link to this path, and it asks for the age of what that leads to.
    absolute = str(path.absolute())
    drop_left_lock(path, report)
    repair_journal(path, report)
    lock = JournalFileSymlinkLock(absolute, grace_period=_JOURNAL_LOCK_GRACE_S)
    with _named_journal(path):
        storage = JournalStorage(JournalFileBackend(absolute, lock_obj=lock))
    return Place(storage, str(path), is_shared=False)


def drop_left_lock(path: Path, report: Callable[[str], None]) -> None:
    """Remove Optuna's lock of a journal when the process that took it is gone.

    The caller holds the study's own lock, so a lock that stays as it is for a second is nobody's: Optuna
    holds it for one write.
    """
    lock = path.with_name(path.name + ".lock")
    before = _changed_ns(lock)
    if before is None:
        return
    time.sleep(_LEFT_BEHIND_S)
    if _changed_ns(lock) == before:
        lock.unlink(missing_ok=True)
        report(f"{lock}: removed; a process that was killed had left it")


def _changed_ns(lock: Path) -> int | None:
    try:
        return lock.lstat().st_ctime_ns
    except FileNotFoundError:
        return None


def repair_journal(path: Path, report: Callable[[str], None]) -> None:
    """Drop a last line that a kill has torn: what it said was never acknowledged to anybody.

    Raises:
        UserError: a line before the last is damaged, which no kill does.
    """
    if not path.exists():
        return
    with path.open("r+b") as stream:
        end = 0
        lines = stream.readlines()
        for number, line in enumerate(lines, 1):
            if not _is_whole(line):
                if number < len(lines):
                    raise UserError(
                        f"{path}:{number}: damaged: not a line of Optuna's journal; delete that line, or "
                        "move the file away to start the study anew"
                    )
                stream.truncate(end)
                os.fsync(stream.fileno())
                report(f"{path}: dropped {len(line)} bytes of a torn last line; a kill had cut it off")
            end += len(line)


def _is_whole(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _postgresql(url: str, heartbeat_s: float) -> RDBStorage:
    shown = redact_uri(url)
    if not url.startswith(("postgresql://", "postgresql+psycopg://")):
        raise UserError(
            f"--storage {shown}: must be postgresql+psycopg://user:password@host:port/database; without "
            "--storage a study is kept in a file, for one machine"
        )
    try:
        import psycopg  # noqa: F401
        from optuna.storages import RDBStorage
        from sqlalchemy.exc import ArgumentError, SQLAlchemyError
    except ModuleNotFoundError:
        raise UserError(
            f"--storage {shown}: needs the package psycopg; pip install 'faceloss-bench[services]'"
        ) from None
    address = url.replace("postgresql://", "postgresql+psycopg://", 1)
    options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": _CONNECT_TIMEOUT_S}}
    try:
        with _creation(address, options):
            interval = max(1, round(heartbeat_s))
            return RDBStorage(
                address, engine_kwargs=options, heartbeat_interval=interval, grace_period=4 * interval
            )
    except (ArgumentError, SQLAlchemyError, ValueError) as error:
        said = redact_uri(str(getattr(error, "orig", None) or error)).strip()
        reason = hide_secrets(said.splitlines()[0], url)
        raise UserError(f"--storage {shown}: cannot be used: {reason}") from None
    except RuntimeError as error:  # Optuna's word for a version table that is not its own
        if "table schema" not in str(error):
            raise
        raise UserError(
            f"--storage {shown}: holds tables of another version of Optuna or of another program, MLflow's "
            "say; give studies a database of their own"
        ) from None


_STUDIES_KEY = 0x62656E6368  # 'bench'


@contextmanager
def _creation(address: str, options: dict[str, object]) -> Iterator[None]:
    """One process at a time creates the tables: at once, they break them."""
    from sqlalchemy import create_engine

    engine = create_engine(address, **options)
    try:
        with _advisory_lock(engine):
            yield
    finally:
        engine.dispose()


@contextmanager
def _advisory_lock(engine: Engine) -> Iterator[None]:
    from sqlalchemy import text

    with engine.connect() as connection:  # the lock belongs to it, and dies with it
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _STUDIES_KEY})
        yield
        connection.rollback()


def storage_failures() -> tuple[type[Exception], ...]:
    """What a storage raises while it is away."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import InterfaceError, OperationalError

    return (StorageInternalError, OperationalError, InterfaceError)


def patiently(
    act: Callable[[], T], shown: str, report: Callable[[str], None], check: Callable[[], None]
) -> T:
    """Do something with a storage; while it is away, wait for it.

    Args:
        act: may be repeated.
        shown: the storage's address.
        report: is told that it is waited for.
        check: called meanwhile; may raise to stop.

    Returns:
        What `act` returned.

    Raises:
        BenchError: it stays away.
    """
    deadline = time.monotonic() + _PATIENCE_S
    pause_s, said = 0.5, False
    while True:
        try:
            return act()
        except storage_failures() as error:
            if time.monotonic() > deadline:
                raise BenchError(
                    f"{shown}: no answer for {_PATIENCE_S:g} s ({type(error).__name__}); when it is back, "
                    "the same command continues the study"
                ) from None
            if not said:
                report(f"{shown}: does not answer; waiting for it")
                said = True
            check()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 10.0)


def is_alive(pid: int, start: int) -> bool:
    """Whether that very process is there: a pid alone is reused."""
    return process_start(pid) == start != 0
