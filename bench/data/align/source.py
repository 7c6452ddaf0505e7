"""The pictures of a folder or of a tar archive, one after the other, whatever their number.

Only names and places travel; bytes are read where they are needed. Nothing here grows with the source, but
for the names within one folder.
"""

from __future__ import annotations

import lzma
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError, one_line
from bench.images.files import SUFFIXES, is_image

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture and where its bytes lie.

    Args:
        name: `Identity/Identity_0001.jpg`, relative to the source, with slashes.
        path: the file that holds the bytes: the picture's own, or the archive.
        offset: of the first byte.
        size: number of bytes; None is all of the file.
        data: the bytes themselves, where a compressed archive gives them only once, in order.
        problem: why they must not be read; None when they may.
    """

    name: str
    path: Path
    offset: int = 0
    size: int | None = None
    data: bytes | None = None
    problem: str | None = None

    def read(self) -> bytes:
        """The bytes.

        Raises:
            OSError: they cannot be read.
        """
        if self.data is not None:
            return self.data
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read() if self.size is None else stream.read(self.size)


@dataclass(frozen=True, slots=True)
class Source:
    """A folder or an archive that was looked through once.

    Args:
        path: of it.
        wrapper: outermost folder of an archive that says nothing about a picture; "" where there is none.
        num_images: pictures in it.
        num_others: files without a picture's suffix, hidden files: passed over.
    """

    path: Path
    wrapper: str
    num_images: int
    num_others: int

    def entries(self) -> Iterator[Entry]:
        """Every picture, always in the same order.

        Raises:
            UserError: a damaged archive, or a folder that cannot be read.
        """
        for entry in _files(self.path):
            if entry is not None:
                yield _without(self.wrapper, entry)


def survey(path: Path, check: Callable[[Entry], None] = lambda entry: None) -> Source:
    """Look through a source: what there is, and how names begin.

    An archive's outermost folder (`lfw/` in `lfw/Name/Name_0001.jpg`) is left out of the names when it holds
    every picture at least two folders deep. `check` sees every entry, under its name in the archive.

    Raises:
        UserError: no such source, neither folder nor archive, damaged, or without a picture.
    """
    num_images = num_others = 0
    outermost: set[str] = set()
    for entry in _files(path):
        if entry is None:
            num_others += 1
            continue
        num_images += 1
        check(entry)
        if entry.problem is None and len(outermost) < 2:
            parts = entry.name.split("/")
            outermost.add(parts[0] if len(parts) > 2 else "")
    if not num_images:
        raise UserError(
            f"{path}: holds no picture ({num_others} other files); names of pictures end in "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    wrapper = outermost.pop() if len(outermost) == 1 and not path.is_dir() else ""
    return Source(path, wrapper, num_images, num_others)


def _without(wrapper: str, entry: Entry) -> Entry:
    if not wrapper or entry.problem is not None:
        return entry
    return Entry(entry.name.removeprefix(f"{wrapper}/"), entry.path, entry.offset, entry.size, entry.data)


def _files(path: Path) -> Iterator[Entry | None]:
    """Every file of a source: an entry, or None for what is no picture."""
    if path.is_dir():
        return _folder(path, "", ())
    if path.is_file():
        return _archive(path)
    raise UserError(f"{path}: does not exist; name a folder of pictures or a tar archive")


def _folder(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[Entry | None]:
    """Files in the order of their names; linked folders are followed, but never in a circle."""
    try:
        status = folder.stat()
        with os.scandir(folder) as listing:
            items = sorted(listing, key=lambda item: item.name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({(error.strerror or str(error)).lower()})") from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for item in items:
        name = prefix + item.name
        if item.is_dir():
            if not item.name.startswith("."):
                yield from _folder(folder / item.name, f"{name}/", (*above, here))
        elif not is_image(name):
            yield None
        else:
            yield Entry(name, folder / item.name, problem=_file_problem(item))


def _file_problem(item: os.DirEntry[str]) -> str | None:
    try:
        return None if stat.S_ISREG(item.stat().st_mode) else "not a regular file"
    except OSError as error:
        return f"cannot be read ({(error.strerror or str(error)).lower()})"


def _archive(path: Path) -> Iterator[Entry | None]:
    last = "its beginning"
    try:
        is_compressed, archive = _open(path)
        with archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile remembers every member it saw
                name = member.name.removeprefix("./")
                last = name
                if member.isdir():
                    continue
                if not is_image(name):
                    yield None
                    continue
                problem = _member_problem(member)
                if problem is not None or not is_compressed:
                    yield Entry(name, path, member.offset_data, member.size, problem=problem)
                    continue
                content = archive.extractfile(member)
                yield Entry(name, path, data=content.read() if content else b"")
            if not is_compressed:
                _check_end(path, archive.offset, last)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if last == "its beginning":
            raise UserError(
                f"{path}: is neither a folder nor a tar archive that can be read ({one_line(error)})"
            ) from error
        raise UserError(_damaged(path, last)) from error


def _open(path: Path) -> tuple[bool, tarfile.TarFile]:
    try:
        return False, tarfile.open(path, "r:")
    except tarfile.ReadError:
        return True, tarfile.open(path, "r:*")


def _member_problem(member: tarfile.TarInfo) -> str | None:
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "its name leads out of the archive's folder"
    if not member.isreg() or member.issparse():
        return "a link or special file in the archive"
    return None


def _check_end(path: Path, offset: int, last: str) -> None:
    """An archive ends with zeros; tarfile takes any header that it cannot read for the end."""
    with path.open("rb") as stream:
        stream.seek(offset)
        if any(stream.read(_BLOCK)):
            raise UserError(_damaged(path, last))


def _damaged(path: Path, last: str) -> str:
    return f"{path}: the archive is damaged after {last!r}; copy or make it again"
