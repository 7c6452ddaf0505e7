"""`IDENTITY/image.jpg` inside a tar, read in place: nothing is unpacked."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

from bench.errors import UserError, one_line
from bench.images.files import ImageFiles, SpanBlobs, by_identity, fingerprint, is_image, labelled


def list_tar(path: Path, option: str) -> ImageFiles:
    """Every image of a tar, the folder that holds it being its identity.

    Of members with one name the last counts, as in unpacking. Symbolic links are no images.

    Args:
        path: the archive.
        option: the setting that named it, for messages.

    Raises:
        UserError: not a plain tar, damaged, or a member climbs out of the archive.
    """
    spans: dict[str, tuple[int, int]] = {}
    num_ignored = 0
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                name = _inside(member.name, path, option)
                if member.isdir():
                    continue
                if member.islnk():  # a second name of an earlier member
                    span = spans.get(_inside(member.linkname, path, option))
                else:
                    span = (member.offset_data, member.size) if member.isreg() else None
                if span is None or not is_image(name):
                    num_ignored += 1
                else:
                    spans[name] = span
    except tarfile.ReadError as error:
        if _is_compressed(path):
            raise UserError(
                f"{option}: {path}: is compressed, and a tar is read in place; decompress it first: gunzip"
            ) from None
        raise UserError(f"{option}: {path}: is no tar, or a damaged one ({one_line(error)})") from None
    except OSError as error:
        raise UserError(f"{option}: {path}: cannot be read ({error.strerror or error})") from error
    paths = list(spans)
    order, identity_of = by_identity(paths, path, option)
    identities, labels = labelled([identity_of[index] for index in order])
    names = tuple("/".join(paths[index].rsplit("/", 2)[-2:]) for index in order)
    where = np.array([spans[paths[index]] for index in order], np.int64)
    blobs = SpanBlobs(path, where[:, 0].copy(), where[:, 1].copy())
    return ImageFiles(path, identities, labels, names, blobs, num_ignored)


def file_fingerprint(path: Path) -> str:
    """Changes when the file is written to."""
    status = path.stat()
    return fingerprint([(path.name, status.st_size, status.st_mtime_ns)])


def _inside(name: str, path: Path, option: str) -> str:
    """The member's path without `./`."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise UserError(
            f"{option}: {path}: member {name!r} climbs out of the archive; do not trust this file"
        )
    return "/".join(parts)


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(6)
    return head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"))
