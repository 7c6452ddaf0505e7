"""`root/IDENTITY/image.jpg` on a disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bench.errors import UserError
from bench.images.files import ImageFiles, PathBlobs, by_identity, fingerprint, is_image, labelled


def list_folder(root: Path, option: str) -> ImageFiles:
    """Every image below `root`, the folder that holds it being its identity.

    Args:
        root: the folder; links to folders are followed.
        option: the setting that named it, for messages.

    Raises:
        UserError: no such folder, it cannot be read, or the level of the identities is not clear.
    """
    paths: list[str] = []
    num_ignored = 0
    for path in _walk(root, option):
        if is_image(path):
            paths.append(path)
        else:
            num_ignored += 1
    order, identity_of = by_identity(paths, root, option)
    sorted_paths = tuple(paths[index] for index in order)
    identities, labels = labelled([identity_of[index] for index in order])
    names = tuple("/".join(path.rsplit("/", 2)[-2:]) for path in sorted_paths)
    return ImageFiles(root, identities, labels, names, PathBlobs(root, sorted_paths), num_ignored)


def folder_fingerprint(root: Path, option: str) -> str:
    """Changes when a file below `root` comes, goes, or is written to."""
    parts = []
    for path in sorted(_walk(root, option)):
        status = os.stat(f"{root}/{path}")  # noqa: PTH116  (a Path takes longer to make than this to ask)
        parts.append((path, status.st_size, status.st_mtime_ns))
    return fingerprint(parts)


def _walk(root: Path, option: str) -> Iterator[str]:
    """Files below `root` as relative paths with `/`; a folder that links lead to twice is entered once."""

    def fail(error: OSError) -> None:
        raise UserError(f"{option}: {error.filename}: cannot be read ({error.strerror})") from error

    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=fail):
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()  # so that of two links to a folder always the same one counts
        below = folder[len(str(root)) :].strip(os.sep).replace(os.sep, "/")
        for file in files:
            yield f"{below}/{file}" if below else file
