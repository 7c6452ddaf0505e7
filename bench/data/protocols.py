"""Pairs that a protocol asks for, by the names of their images, and what happens when one is missing."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.data.align.settings import read_alignment
from bench.data.asked import AskedPair, read_asked_pairs, without_suffix
from bench.data.faces import FaceSet, PairProtocol, Rows
from bench.data.location import given_path
from bench.data.opened import is_pack, open_packed
from bench.data.pack import Pack
from bench.data.prepared import prepared
from bench.data.split import NUM_FOLDS
from bench.errors import UserError, did_you_mean
from bench.images import ImageFiles, read_bin

logger = logging.getLogger("bench.data")

Missing = Literal["error", "skip"]
_SHOWN = 5  # so many of what is missing are named


@dataclass(frozen=True, slots=True)
class ProtocolOptions:
    """Test pairs: images in a folder or tar, and the list of pairs.

    Args:
        root: folder, tar or pack of IDENTITY/image.jpg, or insightface's .bin; ${NAME} is the environment's.
        name: prefix of the metrics.
        pairs: list of pairs in LFW's form, or a .csv; null: pairs.txt in root or beside it.
        missing: what to do when an image is not there or cannot be read. error: say which; skip: leave its
            pairs out, keep every other pair's official fold, and count.
    """

    root: str
    name: str = "lfw"
    pairs: str | None = None
    missing: Missing = "error"

    def __post_init__(self) -> None:
        """The name begins every metric."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name) or self.name in ("train", "validation"):
            raise ValueError(
                "name must be letters, digits, '_' or '-', and not 'train' or 'validation'; "
                f"got {self.name!r}"
            )


def open_protocol(cache: Path, options: ProtocolOptions, size_px: int, option: str) -> PairProtocol:
    """Read the pairs and pack the images that they name.

    Args:
        cache: folder that holds all prepared data.
        options: which.
        size_px: height and width.
        option: where they stand in the configuration, for messages.

    Raises:
        UserError: a path that is not there, a malformed list, or missing images.
    """
    root = given_path(options.root, f"{option}.root")
    if root.is_file() and root.suffix == ".bin":
        return _open_bin(cache, options, root, size_px, option)
    list_path = _list_path(options, root, option)
    asked = read_asked_pairs(list_path)
    wanted = {name for pair in asked for name in (pair.left, pair.right)}
    resolver = _Resolver(asked, list_path, root, options.missing, option)

    def choose(files: ImageFiles) -> NDArray[np.int64]:
        index = by_stem(files.names, root, f"{option}.root", wanted)
        resolver.present(index, files.identities)  # before anything is decoded
        return np.array(sorted(index.values()), np.int64)

    if is_pack(root):
        pack = open_packed(root, f"{option}.root", size_px=size_px)
        alignment = pack.manifest.alignment
    else:
        aligned = read_alignment(root)
        alignment = aligned.alignment if aligned is not None else None
        chosen = hashlib.sha256("\n".join(sorted(wanted)).encode("utf-8", "surrogateescape")).hexdigest()
        pack = prepared(cache, root, size_px, f"{option}.root", choose=choose, chosen=chosen)
    index = by_stem(pack.names(), root, f"{option}.root", wanted)
    present = resolver.present(index, pack.identities, pack)
    protocol = _protocol(options.name, pack, index, present, len(asked) - len(present))
    return replace(protocol, alignment=alignment)


def _open_bin(cache: Path, options: ProtocolOptions, path: Path, size_px: int, option: str) -> PairProtocol:
    """A .bin of insightface holds images and pairs; folds are ten runs of pairs, as insightface has them."""
    if options.pairs is not None:
        raise UserError(f"{option}.pairs: {path} brings its own pairs; leave it out")
    pairs = read_bin(path, f"{option}.root")
    pack = prepared(cache, path, size_px, f"{option}.root", choose=lambda files: np.arange(len(files)))
    if pack.manifest.unreadable:
        worst = pack.manifest.unreadable[0]
        raise UserError(f"{option}.root: {path}: image {worst.name} {worst.reason}")
    count = len(pairs.same)
    if count < NUM_FOLDS:
        raise UserError(f"{option}.root: {path}: {NUM_FOLDS} folds need as many pairs, but it holds {count}")
    folds = np.array_split(np.arange(count), NUM_FOLDS)
    return PairProtocol(
        name=options.name,
        faces=FaceSet(pack.images, np.asarray(pack.labels), pack.identities, pack.names()),
        left=np.arange(0, 2 * count, 2),
        right=np.arange(1, 2 * count, 2),
        same=pairs.same,
        fold=np.repeat(np.arange(NUM_FOLDS), [len(fold) for fold in folds]),
        images_checksum=pack.manifest.checksum,
    )


def by_stem(
    names: Sequence[str], source: Path, option: str, wanted: Collection[str] | None = None
) -> dict[str, int]:
    """`identity/file` without its suffix -> position.

    Raises:
        UserError: two files differ in their suffix only.
    """
    index: dict[str, int] = {}
    for position, name in enumerate(names):
        stem = without_suffix(name)
        if wanted is not None and stem not in wanted:
            continue
        if stem in index:
            raise UserError(
                f"{option}: {source}: {names[index[stem]]} and {name} differ in their suffix only; "
                "which one is meant?"
            )
        index[stem] = position
    return index


def _list_path(options: ProtocolOptions, root: Path, option: str) -> Path:
    if options.pairs is not None:
        return given_path(options.pairs, f"{option}.pairs")
    for folder in (root, root.parent):
        if (folder / "pairs.txt").is_file():
            return folder / "pairs.txt"
    raise UserError(f"{option}.pairs: there is no pairs.txt in or beside {root}; set {option}.pairs=FILE")


@dataclass(frozen=True, slots=True)
class _Resolver:
    """Which of the pairs can be asked."""

    asked: Sequence[AskedPair]
    list_path: Path
    root: Path
    missing: Missing
    option: str

    def present(
        self, index: Mapping[str, int], identities: Collection[str], pack: Pack | None = None
    ) -> list[AskedPair]:
        """The pairs whose images are both there; reports the others as the policy says."""
        lost = {
            name: pair.line
            for pair in reversed(self.asked)
            for name in (pair.right, pair.left)
            if name not in index
        }
        present = [pair for pair in self.asked if pair.left in index and pair.right in index]
        if not lost:
            return present
        unreadable = {
            without_suffix(entry.name): entry.reason for entry in (pack.manifest.unreadable if pack else ())
        }
        if self.missing == "error":
            name, line = min(lost.items(), key=lambda item: item[1])
            raise UserError(f"{self.list_path}:{line}: {self._why(name, identities, unreadable, len(lost))}")
        if not present:
            raise UserError(
                f"{self.option}.root: {self.root}: has none of the {len(index) + len(lost):,} images that "
                f"{self.list_path} names; is it the right folder?"
            )
        empty = {pair.fold for pair in self.asked} - {pair.fold for pair in present}
        if empty:
            raise UserError(
                f"{self.option}.root: {self.root}: so many images are missing that fold {min(empty) + 1} of "
                f"{self.list_path} has no pair left"
            )
        if pack is not None:
            shown = sorted(lost)[:_SHOWN]
            more = f" and {len(lost) - len(shown):,} more" if len(lost) > len(shown) else ""
            logger.warning(
                "%s: %s of %s pairs are skipped: %s images are missing: %s%s",
                self.option,
                f"{len(self.asked) - len(present):,}",
                f"{len(self.asked):,}",
                f"{len(lost):,}",
                ", ".join(shown),
                more,
            )
        return present

    def _why(
        self, name: str, identities: Collection[str], unreadable: Mapping[str, str], num_lost: int
    ) -> str:
        person = name.partition("/")[0]
        if name in unreadable:
            what = f"image {name} {unreadable[name]}"
        else:
            hint = "" if person in identities else did_you_mean(person, identities)
            what = f"image {name} is not in {self.root}{hint}"
        others = (
            f" (nor are {num_lost - 1:,} other images)" if num_lost > 1 and name not in unreadable else ""
        )
        return f"{what}{others}; to leave such pairs out, set {self.option}.missing=skip"


def _protocol(
    name: str, pack: Pack, index: Mapping[str, int], present: Sequence[AskedPair], num_skipped: int
) -> PairProtocol:
    left = np.array([index[pair.left] for pair in present], np.int64)
    right = np.array([index[pair.right] for pair in present], np.int64)
    used, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    names = pack.names()
    faces = FaceSet(
        Rows(pack.images, used),
        np.asarray(pack.labels[used]),
        pack.identities,
        tuple(names[row] for row in used),
    )
    return PairProtocol(
        name=name,
        faces=faces,
        left=places[: len(left)].astype(np.int64),
        right=places[len(left) :].astype(np.int64),
        same=np.array([pair.same for pair in present], np.bool_),
        fold=np.array([pair.fold for pair in present], np.int64),
        images_checksum=pack.manifest.checksum,
        num_skipped=num_skipped,
    )
