"""Decoding many files: in order, by as many processes as there are CPUs, in bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.images.decode import UnreadableImageError, decode_image
from bench.images.files import Blobs

BLOCK = 256  # images that one task decodes: 3 MB at 64 px, 20 MB at 160 px
SMALL = 2 * BLOCK  # so few are decoded before a second process has started
MOST_WORKERS = 16  # then one process writes as fast as these decode, and 1 GB waits to be written at 160 px
_AHEAD = 3  # tasks that wait for each process


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Some consecutive images.

    Args:
        rows: (n,) int64, the readable ones among those asked for.
        pixels: (n, 3, size, size) uint8.
        failures: row and reason of the others.
        stop: the row after the last that was asked for.
    """

    rows: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    failures: tuple[tuple[int, str], ...]
    stop: int


def num_workers() -> int:
    """CPUs that this process may use (a container often has fewer than the machine), up to MOST_WORKERS."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cpus, MOST_WORKERS)


def decode_all(blobs: Blobs, count: int, size_px: int, *, workers: int) -> Iterator[Decoded]:
    """Decode images 0 to count - 1, in order.

    Args:
        blobs: their content.
        count: how many.
        size_px: height and width.
        workers: processes; with one, or few images, it is done here.
    """
    tasks = [(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
    if workers < 2 or count <= SMALL:
        for start, stop in tasks:
            yield _decode(blobs, size_px, start, stop)
        return
    # Not by fork: the parent has threads, and perhaps a GPU. The new processes import numpy and Pillow alone.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (blobs, size_px)) as pool:
        waiting: deque[Future[Decoded]] = deque()
        try:
            for start, stop in tasks:
                waiting.append(pool.submit(_decode_here, start, stop))
                if len(waiting) >= _AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise BenchError("a process that decodes images was killed; is there memory enough?") from None
        finally:
            for future in waiting:
                future.cancel()


def _decode(blobs: Blobs, size_px: int, start: int, stop: int) -> Decoded:
    pixels = np.empty((stop - start, 3, size_px, size_px), np.uint8)
    rows: list[int] = []
    failures: list[tuple[int, str]] = []
    for row in range(start, stop):
        try:
            pixels[len(rows)] = decode_image(blobs.read(row), size_px)
        except UnreadableImageError as error:
            failures.append((row, str(error)))
        except OSError as error:
            failures.append((row, f"cannot be read: {error.strerror or error}"))
        else:
            rows.append(row)
    return Decoded(np.array(rows, np.int64), pixels[: len(rows)], tuple(failures), stop)


# In the worker processes: what every task of one needs, sent once and not with each.
_blobs: Blobs
_size_px: int


def _begin(blobs: Blobs, size_px: int) -> None:
    global _blobs, _size_px
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    _blobs, _size_px = blobs, size_px


def _decode_here(start: int, stop: int) -> Decoded:
    return _decode(_blobs, _size_px, start, stop)
