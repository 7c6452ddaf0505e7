"""Images of a protocol, from a folder or a tar file, decoded while the network works on the batch before.

The one place where `bench eval` turns files into pixels.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.asked import without_suffix
from bench.errors import UserError, did_you_mean, one_line
from bench.images import UnreadableImageError, decode_image
from bench.images.files import is_image

Pixels = NDArray[np.uint8]


class Images:
    """Images by name, as pairs name them: `Identity/Identity_0001`, or the path below the folder.

    Args:
        root: a folder, or a tar file (also compressed).
        names: those that will be asked for; of a tar file only these are kept, still encoded.

    Raises:
        UserError: no such folder or tar file; an image that is not there, or there twice.
    """

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self._root = root
        wanted = list(dict.fromkeys(names))
        if root.is_dir():
            found = self._find(wanted, _files(root))
            self._sources: dict[str, Path | bytes] = {name: root / file for name, file in found.items()}
        elif root.is_file():
            self._sources = self._from_tar(wanted)
        else:
            raise UserError(f"{root}: no such folder or tar file of images")

    def pixels(self, name: str, size_px: int) -> Pixels:
        """The middle square, resized: (3, size, size) uint8.

        Raises:
            UserError: the file is no image.
        """
        source = self._sources[name]
        try:
            return decode_image(source if isinstance(source, bytes) else source.read_bytes(), size_px)
        except UnreadableImageError as error:
            raise UserError(f"{self._root}: {name} {error}") from None

    def batches(
        self, names: Sequence[str], *, size_px: int, batch_size: int, threads: int
    ) -> Iterator[Pixels]:
        """Images in order, (B, 3, H, W) at a time; the next batch is decoded while the caller has this one.

        Raises:
            UserError: a file is no image.
        """
        with ThreadPoolExecutor(threads) as pool:
            ahead: list[Future[Pixels]] = []
            for start in range(0, len(names) + batch_size, batch_size):
                current, ahead = (
                    ahead,
                    [pool.submit(self.pixels, name, size_px) for name in names[start : start + batch_size]],
                )
                if not current:
                    continue
                yield np.stack([future.result() for future in current])

    def _find(self, wanted: Sequence[str], files: Iterable[str]) -> dict[str, str]:
        """Name -> file below the root, by the whole path below the root or by its last two parts."""
        names = set(wanted)
        found: dict[str, str] = {}
        people: dict[str, None] = {}
        for file in files:
            whole = without_suffix(file)
            short = "/".join(whole.split("/")[-2:])
            people.setdefault(short)
            for key in {whole, short} & names:
                if key in found:
                    raise UserError(f"{self._root}: {key!r} is there twice: {found[key]} and {file}")
                found[key] = file
        missing = [name for name in wanted if name not in found]
        if missing:
            more = f", nor {len(missing) - 1:,} others that are named" if len(missing) > 1 else ""
            hint = did_you_mean(missing[0], people)
            raise UserError(f"{self._root}: there is no image {missing[0]!r}{more}{hint}")
        return found

    def _from_tar(self, wanted: Sequence[str]) -> dict[str, Path | bytes]:
        try:
            with tarfile.open(self._root) as archive:
                members = {member.name: member for member in archive if member.isfile()}
                images = (name for name in members if is_image(name))
                found = self._find(wanted, images)
                kept: dict[str, Path | bytes] = {}
                # in the order of the archive: a compressed one would be unpacked from its start each time
                for name in sorted(found, key=lambda name: members[found[name]].offset):
                    stream = archive.extractfile(members[found[name]])
                    assert stream is not None, "only plain files are members here"
                    kept[name] = stream.read()
        except (tarfile.TarError, EOFError, OSError) as error:
            raise UserError(f"{self._root}: is not a readable tar file ({one_line(error)})") from None
        return kept


def _files(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*")):
        if is_image(path.name) and path.is_file():
            yield path.relative_to(root).as_posix()
