"""A folder of prepared files that is either whole or not there, made once by whoever comes first."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from bench.errors import UserError

logger = logging.getLogger("bench.data")

MANIFEST = "meta.json"
MIB = 1024**2
# Opening a cache reads this many blocks of each file instead of all of it: 200 MB would take 0.2 s per start.
SPOT_BLOCKS = 64
SPOT_BYTES = 4096
# What a full disk or an exhausted quota says.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class _Place(NamedTuple):
    """How messages speak of a folder."""

    option: str
    remedy: str


_CACHE = _Place("data.cache: ", " or set BENCH_CACHE=...")
_GIVEN = _Place("", "")  # the folder that the user named


def cached(
    folder: Path, parameters: dict[str, Any], build: Callable[[Path], dict[str, Any]], *, num_bytes: int
) -> dict[str, Any]:
    """Make sure that `folder` holds what `build` makes from `parameters`, and return its manifest.

    One process builds, in a temporary folder that takes its name only when every byte is on the disk; others
    wait. A folder that is damaged, or that comes from other parameters, is named in the log and built again.

    Args:
        folder: where the files lie; its name should be unique for `parameters`.
        parameters: everything that the content depends on, JSON types only.
        build: writes files into the folder it is given; returns what the manifest shall remember of them.
        num_bytes: about how much `build` writes.

    Returns:
        The manifest: "parameters", "files", and everything that `build` returned.

    Raises:
        UserError: the disk is full or the folder cannot be written; nothing is left half-written.
    """
    if _problem(folder, parameters) is None:
        return _read_manifest(folder)
    with _no_space_as_user_error(folder, num_bytes, _CACHE):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(folder):
            problem = _problem(folder, parameters)
            if problem is None:  # another process built it while this one waited
                return _read_manifest(folder)
            if folder.exists():
                logger.warning("data.cache: %s: %s; making it again", folder, problem)
                shutil.rmtree(folder)
            # This process holds the lock: what has a temporary name here was left by one that was killed.
            for leftover in folder.parent.glob(f".{folder.name}-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            _build(folder, parameters, build, num_bytes, _CACHE)
    return _read_manifest(folder)


def made(
    folder: Path, parameters: dict[str, Any], build: Callable[[Path], dict[str, Any]], *, num_bytes: int
) -> dict[str, Any]:
    """`cached` for a folder that the user named: it must not be there yet, and comes into being whole.

    Raises:
        UserError: it is there already, the disk is full or the folder cannot be written.
    """
    if folder.exists():
        raise UserError(f"{folder}: exists already; name another folder, or remove this one first")
    with _no_space_as_user_error(folder, num_bytes, _GIVEN):
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        _build(folder.absolute(), parameters, build, num_bytes, _GIVEN)
    return _read_manifest(folder)


def read_made(folder: Path) -> dict[str, Any]:
    """The manifest of a folder that `made` wrote, here or on another machine.

    Raises:
        UserError: it is no such folder, or damaged where a quick look sees it.
    """
    problem = _problem(folder)
    if problem is not None:
        there = (folder / MANIFEST).exists()
        remedy = "copy it again, or pack it anew" if there else "'bench data pack' makes such folders"
        raise UserError(f"{folder}: {problem}; {remedy}")
    return _read_manifest(folder)


def whole(folder: Path, parameters: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a folder that needs no building, for callers who have to find out what to build."""
    return _read_manifest(folder) if _problem(folder, parameters) is None else None


def _build(
    folder: Path,
    parameters: dict[str, Any],
    build: Callable[[Path], dict[str, Any]],
    num_bytes: int,
    place: _Place,
) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < num_bytes:
        raise UserError(_needs(folder, num_bytes, free, place))
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        remembered = build(temporary)
        files = {path.name: file_fingerprint(path) for path in sorted(temporary.iterdir())}
        manifest = {"parameters": parameters, "files": files, **remembered}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        for path in temporary.iterdir():
            _flush(path)
        _flush(temporary)
        temporary.chmod(0o755)  # mkdtemp gives 0700; the cache is for the group to read
        temporary.replace(folder)
        _flush(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _problem(folder: Path, parameters: dict[str, Any] | None = None) -> str | None:
    """Why the folder cannot be used, or None when it can. Without parameters, any will do."""
    try:
        manifest = _read_manifest(folder)
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (ValueError, NotADirectoryError):
        return f"{MANIFEST} cannot be read"
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        return f"{MANIFEST} is not a manifest"
    if parameters is not None and manifest.get("parameters") != parameters:
        return "it was made from other parameters"
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected.get("bytes"):
            return f"{name} has {path.stat().st_size} bytes instead of {expected.get('bytes')}"
        if file_fingerprint(path) != expected:
            return f"{name} does not match its checksum"
    return None


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return manifest


def file_fingerprint(path: Path) -> dict[str, Any]:
    """Size, and a digest of blocks spread evenly over the file (small files: of all of it)."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        if size <= SPOT_BLOCKS * SPOT_BYTES:
            digest.update(stream.read())
        else:
            for block in range(SPOT_BLOCKS):
                stream.seek((size - SPOT_BYTES) * block // (SPOT_BLOCKS - 1))
                digest.update(stream.read(SPOT_BYTES))
    return {"bytes": size, "spots": digest.hexdigest()}


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; say so when that means waiting for another process."""
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("waiting for another process that is making %s", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _no_space_as_user_error(folder: Path, num_bytes: int, place: _Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            free = shutil.disk_usage(_existing(folder)).free
            raise UserError(_needs(folder, num_bytes, free, place)) from error
        if (
            isinstance(error, PermissionError | NotADirectoryError | FileExistsError)
            or error.errno == errno.EROFS
        ):
            reason = (error.strerror or str(error)).lower()
            remedy = place.remedy.replace(" or", ";", 1)
            raise UserError(f"{place.option}{folder}: cannot be written ({reason}){remedy}") from error
        raise


def _needs(folder: Path, num_bytes: int, free: int, place: _Place) -> str:
    needed = -(-num_bytes // MIB)
    return (
        f"{place.option}{folder}: needs {needed} MiB, {free // MIB} MiB free; free some space{place.remedy}"
    )


def _existing(path: Path) -> Path:
    """The nearest folder on the way up that exists."""
    while not path.exists():
        path = path.parent
    return path


def _flush(path: Path) -> None:
    """Have the file's or folder's bytes on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
