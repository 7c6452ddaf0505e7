"""Downloading LFW from the mirror that scikit-learn maintains: resumed, checked, and given up in seconds.

The addresses and checksums are scikit-learn's. Its own download has no time limit, begins anew after every
interruption and unpacks thirteen thousand files, of which none is needed: a tar is read in place.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import logging
import shutil
import time
import urllib.error
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import BenchError, UserError

logger = logging.getLogger("bench.data")

TIMEOUT_S = 10.0  # without a byte
_CHUNK = 2**18
_SAY_EVERY_S = 5.0
_UNSATISFIABLE = 416  # nothing is left of what was asked for


class Remote(NamedTuple):
    """A file elsewhere.

    Args:
        filename: its name here.
        url: where it is.
        checksum: sha256, hex.
    """

    filename: str
    url: str
    checksum: str


def lfw_files(*, funneled: bool) -> tuple[Remote, Remote]:
    """The archive of images, and pairs.txt."""
    from sklearn.datasets import _lfw

    archive = _lfw.FUNNELED_ARCHIVE if funneled else _lfw.ARCHIVE
    pairs = next(target for target in _lfw.TARGETS if target.filename == "pairs.txt")
    return _remote(archive), _remote(pairs)


def fetch_lfw(folder: Path, *, funneled: bool = False) -> tuple[Path, Path]:
    """Have LFW's images as a tar, and pairs.txt, in a folder. What is there already is not fetched again.

    Args:
        folder: for both; made if needed.
        funneled: the images that were aligned by funneling instead of the original ones.

    Returns:
        The tar and pairs.txt.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
        BenchError: the mirror cannot be reached, or sends something else.
    """
    archive, pairs = lfw_files(funneled=funneled)
    tar = folder / f"{archive.filename.partition('.')[0]}.tar"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pairs_path = download(pairs, folder)
        if not tar.exists():
            compressed = download(archive, folder)
            _decompress(compressed, tar)
            compressed.unlink()
    except OSError as error:
        remedy = "; free some space and run this again: it goes on" if error.errno == errno.ENOSPC else ""
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{folder}: cannot be written ({reason}){remedy}") from error
    return tar, pairs_path


def download(remote: Remote, folder: Path) -> Path:
    """Have a file whose bytes are those that its checksum promises.

    A `.part` that an interrupted download left is gone on with.

    Raises:
        BenchError: it cannot be reached, or is another file.
        OSError: it cannot be written.
    """
    path, part = folder / remote.filename, folder / f"{remote.filename}.part"
    if path.exists():
        found = _sha256(path)
        if found == remote.checksum:
            return path
        raise BenchError(
            f"{path}: has sha256 {found[:12]}... instead of {remote.checksum[:12]}...; "
            "remove it and run this again"
        )
    try:
        _receive(remote, part)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise BenchError(
            f"{remote.url}: cannot be reached ({reason}); run this again to go on, or without a network "
            f"bring {remote.filename} (sha256 {remote.checksum[:12]}...) into {folder} by other means"
        ) from error
    found = _sha256(part)
    if found != remote.checksum:
        part.unlink()
        raise BenchError(
            f"{remote.url}: sent a file with sha256 {found[:12]}... instead of {remote.checksum[:12]}...; "
            "it was removed"
        )
    part.replace(path)
    return path


def _receive(remote: Remote, part: Path) -> None:
    """Append what is missing."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(remote.url, headers={"User-Agent": "faceloss-bench"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            if have and error.code == _UNSATISFIABLE:  # it was whole, only not yet renamed
                return
            raise
    with response:
        resumed = response.status == 206
        if resumed:
            logger.info("%s: going on after %.1f MB", remote.filename, have / 1e6)
        else:  # the server knows no ranges: from the start
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if resumed else "wb") as stream:
            said = time.monotonic()
            while chunk := response.read(_CHUNK):
                stream.write(chunk)
                have += len(chunk)
                if time.monotonic() - said >= _SAY_EVERY_S:
                    said = time.monotonic()
                    of = f" of {total / 1e6:.0f}" if total else ""
                    logger.info("%s: %.0f%s MB", remote.filename, have / 1e6, of)
        if total is not None and have < total:
            raise ConnectionError(f"the connection ended after {have:,} of {total:,} bytes")


def _decompress(source: Path, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    try:
        with gzip.open(source) as compressed, part.open("wb") as stream:
            shutil.copyfileobj(compressed, stream, _CHUNK)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        part.unlink()
        raise BenchError(f"{source}: is no gzip file, or a damaged one ({error})") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.replace(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remote(theirs: Any) -> Remote:
    """Of scikit-learn's RemoteFileMetadata."""
    return Remote(theirs.filename, theirs.url, theirs.checksum)
