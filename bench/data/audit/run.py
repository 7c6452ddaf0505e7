"""`bench data audit`: look through two sets and say what they share."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.align.picture import UnreadableError, read_picture
from bench.data.align.run import printable
from bench.data.align.source import Entry, Source, survey
from bench.data.audit.hashes import BYTES, MAX_BITS, Hashes, near_duplicates, perceptual_hash
from bench.data.audit.names import is_number, person, shared
from bench.data.audit.neighbours import Embeddings, nearest
from bench.data.audit.verdict import AuditFile
from bench.errors import UserError
from bench.progress import Counting, Uncounted
from bench.results import DataAudit

Embed = Callable[[NDArray[np.uint8]], Embeddings]
"""(B, 3, S, S) uint8 -> (B, D), by a trained model."""

# Squared distance of unit embeddings below which two pictures are taken for one.
SAME_PICTURE = 0.1
_BATCH = 256
# Names of each kind that the file lists; the counts are always complete.
LISTED = 1000


@dataclass(frozen=True)
class Model:
    """What pictures are also compared by.

    Args:
        name: of its run, for the record.
        embed: the model.
        size_px: height and width of the pictures that it is fed.
        limit: squared distance below which two pictures are taken for one.
    """

    name: str
    embed: Embed
    size_px: int
    limit: float = SAME_PICTURE


@dataclass(frozen=True)
class Audit:
    """What was found.

    Args:
        train: pictures by training identity.
        test: pictures by test identity.
        file: everything else, as it is stored.
    """

    train: dict[str, int]
    test: dict[str, int]
    file: AuditFile


def audit(
    train: Path,
    test: Path,
    *,
    only: Collection[str] | None = None,
    model: Model | None = None,
    max_bits: int = MAX_BITS,
    progress: Counting = Uncounted(),  # noqa: B008 - has no state
) -> Audit:
    """Compare a training set with a test set, folders or tar archives.

    Args:
        train: the training set.
        test: the test set.
        only: pictures of the test that its protocol names (`Name/Name_0001`), where it does not name all.
        model: compare embeddings too.
        max_bits: near duplicates differ in at most so many bits of 256.
        progress: hears how far it is.

    Raises:
        UserError: a source that cannot be read; or `only` names nothing in the test set.
    """
    sources = survey(train), survey(test)
    counter = _Counter(progress, sum(source.num_images for source in sources))
    tests = _look_through(sources[1], counter, model, keep=True, only=only)
    if not tests.images_of:
        assert only is not None  # survey refuses a source without pictures
        raise UserError(
            f"{test}: holds none of the {len(only):,} pictures of the protocol, such as {min(only)}"
        )
    trains = _look_through(sources[0], counter, model, keep=False, other=tests)
    pairs = near_duplicates(trains.hashes, tests.hashes, max_bits=max_bits)
    rows = np.stack([trains.rows[pairs[:, 0]], tests.rows[pairs[:, 1]]], 1)
    close = trains.close
    names = (
        _names(sources[0], {*rows[:LISTED, 0].tolist(), *(row for row, _, _ in close[:LISTED])}),
        _names(sources[1], {*rows[:LISTED, 1].tolist(), *(row for _, row, _ in close[:LISTED])}),
    )
    same_people = shared(trains.images_of, tests.images_of)
    numbered = all(is_number(person(identity)) for identity in trains.images_of)
    num_shared = None if numbered and not same_people else len(same_people)
    num_close = None if model is None else len({row for _, row, _ in close})
    num_alike = len(np.unique(rows[:, 1]))
    verdict = DataAudit(
        train=train.name,
        test=test.name,
        train_images=sources[0].num_images,
        train_identities=len(trains.images_of),
        test_images=sum(tests.images_of.values()),
        test_identities=len(tests.images_of),
        shared_identities=num_shared,
        near_duplicates=num_alike,
        embedding_duplicates=num_close,
        embedding_model="" if model is None else model.name,
        is_clean=not (num_shared or num_alike or num_close),
        verdict=_verdict(num_shared, num_alike, num_close),
    )
    file = AuditFile(
        verdict=verdict,
        shared_identities=tuple(same_people[:LISTED]),
        near_duplicates=tuple(
            (names[0][ours], names[1][theirs], int(bits))
            for (ours, theirs), bits in zip(rows[:LISTED].tolist(), pairs[:LISTED, 2], strict=True)
        ),
        embedding_duplicates=tuple(
            (names[0][ours], names[1][theirs], round(distance, 4))
            for ours, theirs, distance in close[:LISTED]
        ),
        unreadable=tuple((*trains.unreadable, *tests.unreadable)[:LISTED]),
    )
    return Audit(trains.images_of, tests.images_of, file)


def _verdict(num_shared: int | None, num_alike: int, num_close: int | None) -> str:
    found = []
    if num_shared:
        found.append(f"{num_shared} people of the test are in the training set by name")
    if num_alike:
        found.append(f"{num_alike} test pictures have a near duplicate there")
    if num_close:
        found.append(f"{num_close} have one by embedding")
    if found:
        return "not clean: " + "; ".join(found)
    unasked = [
        *(["names (they are numbers)"] if num_shared is None else []),
        *(["embeddings (--run)"] if num_close is None else []),
    ]
    return "clean" + (f", as far as was looked: not at {' nor at '.join(unasked)}" if unasked else "")


@dataclass
class _Seen:
    """One set, looked through.

    Args:
        images_of: pictures by identity.
        hashes: of all pictures that have one.
        rows: place of each of them among the source's pictures.
        embeddings: of readable pictures, where they are kept.
        embedded: place of each of those among the source's pictures.
        close: (row here, row of the other set, squared distance), where embeddings were compared.
        unreadable: name and reason.
    """

    images_of: dict[str, int]
    hashes: Hashes
    rows: NDArray[np.int64]
    embeddings: Embeddings
    embedded: NDArray[np.int64]
    close: list[tuple[int, int, float]]
    unreadable: list[tuple[str, str]]


def _look_through(
    source: Source,
    counter: _Counter,
    model: Model | None,
    *,
    keep: bool,
    only: Collection[str] | None = None,
    other: _Seen | None = None,
) -> _Seen:
    """Count, hash and embed every picture of a source, one after the other."""
    images_of: Counter[str] = Counter()
    hashes = bytearray()
    rows: list[int] = []
    embedded: list[int] = []
    unreadable: list[tuple[str, str]] = []

    def pictures() -> Iterator[tuple[int, Image.Image]]:
        for row, entry in enumerate(source.entries()):
            counter.one()
            if only is not None and str(PurePosixPath(entry.name).with_suffix("")) not in only:
                continue
            images_of[printable(entry.name).rpartition("/")[0]] += 1
            image = _decode(entry, unreadable)
            if image is None:
                continue
            hashed = perceptual_hash(image)
            if hashed is not None:
                hashes.extend(hashed.tobytes())
                rows.append(row)
            yield row, image

    def blocks() -> Iterator[Embeddings]:
        assert model is not None
        batch: list[NDArray[np.uint8]] = []
        for row, image in pictures():
            embedded.append(row)
            batch.append(_pixels(image, model.size_px))
            if len(batch) == _BATCH:
                yield model.embed(np.stack(batch))
                batch.clear()
        if batch:
            yield model.embed(np.stack(batch))

    embeddings = np.empty((0, 1), np.float32)
    close: list[tuple[int, int, float]] = []
    if model is None:
        for _ in pictures():
            pass
    elif other is not None:
        nearby, distances = nearest(blocks(), other.embeddings)
        close = [
            (embedded[ours], int(theirs), float(distance))
            for theirs, ours, distance in zip(other.embedded, nearby, distances, strict=True)
            if ours >= 0 and distance < model.limit
        ]
    elif keep:
        embeddings = np.concatenate([*blocks()] or [embeddings])
    return _Seen(
        dict(images_of),
        np.frombuffer(bytes(hashes), np.uint8).reshape(-1, BYTES),
        np.array(rows, np.int64),
        embeddings,
        np.array(embedded, np.int64),
        close,
        unreadable,
    )


def _decode(entry: Entry, unreadable: list[tuple[str, str]]) -> Image.Image | None:
    try:
        if entry.problem is None:
            return read_picture(entry.read())
        reason = entry.problem
    except UnreadableError as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read ({(error.strerror or str(error)).lower()})"
    unreadable.append((printable(entry.name), reason))
    return None


def _pixels(image: Image.Image, size_px: int) -> NDArray[np.uint8]:
    if image.size != (size_px, size_px):
        image = image.resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).transpose(2, 0, 1)


def _names(source: Source, rows: set[int]) -> dict[int, str]:
    """Names of some pictures: the source is walked again rather than all names kept."""
    if not rows:
        return {}
    return {row: printable(entry.name) for row, entry in enumerate(source.entries()) if row in rows}


class _Counter:
    """Counts pictures of both sets together."""

    def __init__(self, progress: Counting, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._began = time.perf_counter()

    def one(self) -> None:
        """One more picture was looked at."""
        self._done += 1
        per_s = self._done / max(time.perf_counter() - self._began, 1e-9)
        self._progress.count(self._done, self._total, per_s, "")
