"""MLflow's many exceptions sorted into three: the store is away, it refuses, or it has no such run."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from bench.config.redaction import hide_secrets
from bench.errors import BenchError
from bench.tracking.settings import redact, sqlite_path

_NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"
_AWAY = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "INTERNAL_ERROR")


class StoreUnreachable(BenchError):
    """The store does not answer, or not now; `reason` in a few words. Deliver again later."""

    def __init__(self, uri: str, reason: str) -> None:
        self.uri = redact(uri)
        self.reason = reason = hide_secrets(reason, uri)
        verb = "used" if sqlite_path(uri) else "reached"
        self.problem = f"MLflow at {self.uri} cannot be {verb} ({reason})"
        super().__init__(self.problem)


class TrackingRefused(BenchError):
    """The store answers and refuses; repeating it will not help."""


class RunNotFound(BenchError):
    """The store holds no such run."""


@contextmanager
def sorted_failures(uri: str) -> Iterator[None]:
    """MLflow's many exceptions as three: StoreUnreachable, RunNotFound, TrackingRefused."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code == _NOT_FOUND:
            raise RunNotFound(first_line(error)) from error
        if _is_away(error) or error.error_code in _AWAY:
            raise StoreUnreachable(uri, _reason(error)) from error
        raise TrackingRefused(
            f"MLflow at {redact(uri)} refuses: {hide_secrets(first_line(error), uri)}"
        ) from error
    except OSError as error:  # of the artifact store too: requests' exceptions are OSErrors
        status = getattr(getattr(error, "response", None), "status_code", 500)
        if 400 <= status < 500:
            raise TrackingRefused(
                f"MLflow at {redact(uri)} refuses: {hide_secrets(first_line(error), uri)}"
            ) from error
        raise StoreUnreachable(uri, _reason(error)) from error
    except Exception as error:
        if _is_away(error):
            raise StoreUnreachable(uri, _reason(error)) from error
        raise


def _chain(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


def _is_away(error: BaseException) -> bool:
    from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError

    return any(
        isinstance(link, OSError | OperationalError | InterfaceError) or type(link) is DatabaseError
        for link in _chain(error)
    )


def _reason(error: BaseException) -> str:
    """In a few words why the store is away: the operating system's or the database's own."""
    from requests import ConnectTimeout, ReadTimeout
    from sqlalchemy.exc import DBAPIError

    for link in _chain(error):
        if isinstance(link, ConnectionRefusedError):
            return "connection refused"
        if isinstance(link, ReadTimeout | ConnectTimeout | TimeoutError):
            return "no answer"
        if isinstance(link, socket.gaierror):
            return "unknown host"
        if isinstance(link, DBAPIError) and link.orig is not None:
            return first_line(link.orig)
        if isinstance(link, OSError) and link.strerror:
            return link.strerror.lower()
    return first_line(error)


def first_line(error: BaseException) -> str:
    """What it says, one line, without credentials."""
    lines = redact(str(error)).strip().splitlines()
    return lines[0].rstrip(". ")[:300] if lines else type(error).__name__
