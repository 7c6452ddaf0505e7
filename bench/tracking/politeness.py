"""MLflow as a guest in the process: quick to give up, silent, and without a trace afterwards."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# In force during a delivery where the user has set nothing; taken back afterwards, so that a program that
# uses MLflow itself keeps its own patience.
_DEFAULTS = {
    # Seven retries with back-off are MLflow's default: minutes. A failed delivery is repeated as a whole
    # and changes nothing twice; a retried "create run" whose answer got lost would make a second run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds without a byte; MLflow's default is 120
    "PGCONNECT_TIMEOUT": "5",  # seconds; PostgreSQL's client waits for ever
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # "View run ... at", printed as a run ends
}
_CHATTERING = ("mlflow", "alembic", "sqlalchemy.engine", "urllib3.connectionpool")

_quiet_threads: set[int] = set()
_one_at_a_time = threading.RLock()
_after_fork: list[Callable[[], None]] = []


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        # by name as well: the handler may serve other loggers too
        return record.thread not in _quiet_threads or not record.name.startswith(_CHATTERING)


_filter = _Quiet()


@contextmanager
def polite_mlflow() -> Iterator[None]:
    """Short time-outs and silence for the MLflow calls of this thread; one thread at a time.

    What MLflow logs becomes our own one-line messages; MLFLOW_LOGGING_LEVEL lets its own lines through.
    """
    with _one_at_a_time:
        _import_quietly()
        added = {name: value for name, value in _DEFAULTS.items() if name not in os.environ}
        os.environ.update(added)
        thread = threading.get_ident()
        was_quiet = thread in _quiet_threads
        if "MLFLOW_LOGGING_LEVEL" not in os.environ:
            _quiet_threads.add(thread)
        try:
            yield
        finally:
            if not was_quiet:
                _quiet_threads.discard(thread)
            for name in added:
                os.environ.pop(name, None)


def after_fork(function: Callable[[], None]) -> None:
    """Run `function` in every child process that is forked from now on."""
    _after_fork.append(function)


def _import_quietly() -> None:
    # MLflow reports usage to its makers from the moment it is imported. A benchmark has no business to do
    # that in its user's name; whoever wants it sets MLFLOW_DISABLE_TELEMETRY=false.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # mlflow 3.17 with SQLAlchemy 2.1 warns as its tables are set up. A filter of its own, for good:
    # warnings.catch_warnings would switch the filters of all threads.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
    import mlflow  # noqa: F401

    for name in _CHATTERING:
        logger = logging.getLogger(name)
        # Records of child loggers pass the handlers of their parents, not their filters.
        for place in (logger, *logger.handlers):
            place.addFilter(_filter)  # a filter is added only once


def _in_child() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.RLock()
    _quiet_threads.clear()
    for function in _after_fork:
        function()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
