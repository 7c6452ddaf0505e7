"""`metrics.jsonl`: one line a logged step, appended as the run goes; the truth that tracking delivers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError


@dataclass(frozen=True, slots=True)
class MetricsLine:
    """The metrics of one step.

    Args:
        step: optimiser steps done when the metrics were taken.
        time_ms: Unix time in milliseconds; delivered as it stands, so that sending twice changes nothing.
        metrics: name -> value; nan and inf allowed.
        end: byte offset just behind the line, where a reader continues.
    """

    step: int
    time_ms: int
    metrics: Mapping[str, float]
    end: int = 0


class MetricsWriter:
    """Appends lines; on resume first drops what lies beyond the checkpoint.

    Args:
        path: the file; created when missing.
        keep: bytes of the file that stay; what a checkpoint has noted, or 0 to start anew.
    """

    def __init__(self, path: Path, *, keep: int = 0) -> None:
        self._stream = path.open("r+b" if path.exists() else "w+b")
        self._stream.truncate(min(keep, path.stat().st_size))  # never longer: that would be zeros
        self._stream.seek(0, os.SEEK_END)

    def sync(self) -> int:
        """See all lines safely on the disk; returns how many bytes they are."""
        os.fsync(self._stream.fileno())
        return self._stream.tell()

    def append(self, line: MetricsLine) -> None:
        """Write one line and hand it to the operating system, so that a kill of the process keeps it."""
        document = {"step": line.step, "time_ms": line.time_ms, "metrics": dict(line.metrics)}
        self._stream.write(json.dumps(document).encode() + b"\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file; more calls do nothing."""
        self._stream.close()


def read_metrics(path: Path, *, start: int = 0, end: int | None = None) -> Iterator[MetricsLine]:
    """Whole lines from byte `start` on; a last line that a kill has torn is left out.

    Args:
        path: metrics.jsonl; a missing file has no lines.
        start: byte offset, 0 or the `end` of a line read before.
        end: stop at this byte.

    Raises:
        BenchError: a line before the last is damaged, which no kill does.
    """
    if not path.exists():
        return
    with path.open("rb") as stream:
        stream.seek(start)
        for raw in stream:
            start += len(raw)
            if not raw.endswith(b"\n") or (end is not None and start > end):
                return
            yield _parsed(raw, path, start)


def _parsed(raw: bytes, path: Path, end: int) -> MetricsLine:
    try:
        document: dict[str, Any] = json.loads(raw)
        step, time_ms = int(document["step"]), int(document["time_ms"])
        metrics = {str(name): float(value) for name, value in document["metrics"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise BenchError(f"{path}: damaged behind byte {end - len(raw)}: not a line of metrics") from None
    return MetricsLine(step, time_ms, metrics, end)
