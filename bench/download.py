"""One file from the network, or one clear line: no download of ours waits for ever."""

from __future__ import annotations

import http.client
import logging
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from bench.errors import UserError
from bench.results import atomic_file

_log = logging.getLogger("bench.download")

SILENCE_S = 20.0
"""A server that says nothing for so long has no answer: a black hole looks the same after a minute."""

_CHUNK = 2**20


def download(url: str, path: Path, *, remedy: str) -> Path:
    """Fetch a file, whole or not at all; one that is there already is taken as it is.

    Processes that want the same file wait for the one that fetches it.

    Args:
        url: http or https.
        path: where it goes.
        remedy: what a person can do without the network; ends the message.

    Raises:
        UserError: nobody answers within `SILENCE_S`; connection refused; an HTTP status other than 200; less
            than was announced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return path
        _log.info("downloading %s from %s", path.name, urlsplit(url).hostname)
        try:
            _fetch(url, path)
        except (OSError, http.client.HTTPException) as error:
            raise UserError(f"{url}: {_reason(error)}; {remedy}") from None
    return path


def _fetch(url: str, path: Path) -> None:
    # the time limit holds for every single wait: name and connection, headers, each piece of the body
    with urllib.request.urlopen(url, timeout=SILENCE_S) as answer, atomic_file(path) as stream:
        announced = answer.headers.get("Content-Length")
        received = 0
        while piece := answer.read(_CHUNK):
            stream.write(piece)
            received += len(piece)
        if announced is not None and received != int(announced):
            raise http.client.IncompleteRead(b"", int(announced) - received)


def _reason(error: OSError | http.client.HTTPException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} ({error.reason})"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        return _reason(error.reason)
    if isinstance(error, TimeoutError):
        return f"no answer within {SILENCE_S:g} s"
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection ended {error.expected} bytes too early"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return type(error).__name__
