"""Runs as reports see them: records, test pairs and curves from folders, and gaps where one is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError, UserError, one_line
from bench.results import MetricsLine, RunFolder, RunRecord, read_metrics
from bench.results.arrays import Arrays, UnreadableArrayError, opened_arrays

_SCHEMA = RunRecord.model_fields["schema_version"].default


@dataclass(frozen=True, eq=False)
class PairDistances:
    """The pairs of one protocol as a run saw them.

    Args:
        distances: (P,) float64, each pair's distance as its own fold's test sees it.
        same: (P,) bool.
        fold: (P,) int.
        sides: (P, 2) int, the images of each pair; which pairs they are.
    """

    distances: npt.NDArray[np.float64]
    same: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64]
    sides: npt.NDArray[np.int64]

    def has_the_pairs_of(self, other: PairDistances) -> bool:
        """The same pairs, in the same order and folds."""
        mine, theirs = (self.same, self.fold, self.sides), (other.same, other.fold, other.sides)
        return all(np.array_equal(left, right) for left, right in zip(mine, theirs, strict=True))


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Args:
        record: what came out.
        folder: where its pairs and curves lie; None when the record was kept alone.
    """

    record: RunRecord
    folder: RunFolder | None = None

    @property
    def title(self) -> str:
        """`center s0`."""
        return f"{self.record.name} s{self.record.seed}"

    def pairs(self, protocol: str) -> PairDistances | None:
        """The test pairs of a protocol; None where they were not kept."""
        return self._pairs.get(protocol)

    @cached_property
    def curve(self) -> tuple[MetricsLine, ...]:
        """What was logged while training; empty where it was not kept."""
        return tuple(read_metrics(self.folder.metrics)) if self.folder else ()

    @cached_property
    def _pairs(self) -> dict[str, PairDistances]:
        if self.folder is None or not self.folder.pairs.exists():
            return {}
        with opened_arrays(self.folder.pairs) as arrays:
            return {
                name: PairDistances(
                    _column(arrays, f"{name}/distances", "f"),
                    _column(arrays, f"{name}/same", "b"),
                    _column(arrays, f"{name}/fold", "iu"),
                    np.stack([_column(arrays, f"{name}/{side}", "iu") for side in ("left", "right")], axis=1),
                )
                for name in self.record.protocols
                if f"{name}/distances" in arrays.names
            }


def _column(arrays: Arrays, name: str, kinds: str) -> npt.NDArray[Any]:
    """One number a pair, of a type that numpy calls by one of these letters.

    Raises:
        UnreadableArrayError: it is not there, or something else.
    """
    array = arrays[name]
    if array.ndim != 1 or array.dtype.kind not in kinds:
        raise UnreadableArrayError(f"{name!r} is {array.dtype} {array.shape}, which pairs do not have")
    return array


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that a reader of the report must know is not in it.

    Args:
        what: a run, a file.
        reason: why.
    """

    what: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """Runs to report, in a fixed order, and the gaps between them."""

    runs: tuple[Run, ...]
    gaps: tuple[Gap, ...]


def read_runs(places: Sequence[Path]) -> Collection:
    """Read finished runs; the others become gaps.

    Args:
        places: run folders, folders of run folders, folders of records (`*.json`, also in `records/`), or
            record files; each run counts once.

    Raises:
        UserError: a place does not exist or holds no run at all.
    """
    runs: dict[tuple[str, int, str], Run] = {}
    gaps: list[Gap] = []
    for place in places:
        for item in _items(place):
            found = _read(item)
            if isinstance(found, Gap):
                gaps.append(found)
                continue
            record = found.record
            earlier = runs.setdefault((record.config_hash, record.seed, record.data_checksum), found)
            if earlier is not found:
                gaps.append(Gap(found.title, f"is the run of {earlier.title} once more; counted once"))
    ordered = sorted(
        runs.values(), key=lambda run: (run.record.name, run.record.config_hash, run.record.seed)
    )
    return Collection(tuple(ordered), tuple(sorted(gaps, key=lambda gap: (gap.what, gap.reason))))


def _items(place: Path) -> list[Path]:
    """Run folders and record files at a place."""
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UserError(f"{place}: no such folder; name one that holds run folders, such as runs")
    if _is_run(place):
        return [place]
    found = [child for child in sorted(place.iterdir()) if child.is_dir() and _is_run(child)]
    found = found or list(_record_files((place / "records", place)))
    if not found:
        raise UserError(f"{place}: holds neither run folders nor records; 'bench run' makes run folders")
    return found


def _is_run(folder: Path) -> bool:
    return (folder / "state.json").exists() or (folder / "record.json").exists()


def _record_files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        files = sorted(folder.glob("*.json"))
        if files:
            yield from files
            return


def _read(item: Path) -> Run | Gap:
    try:
        if item.is_file():
            return _usable(RunRecord.model_validate_json(item.read_bytes()), None, item.stem)
        return _read_folder(RunFolder(item))
    except (BenchError, ValueError, OSError) as error:
        return Gap(item.name, _why_unreadable(item, error))


def _read_folder(folder: RunFolder) -> Run | Gap:
    state, name = folder.state(), folder.path.name
    if state is not None and state.state != "FINISHED":
        if state.is_abandoned:
            return Gap(name, "not finished: its process is gone; continue it with --resume")
        return Gap(name, _unfinished(state.state, state.error))
    record = folder.record()
    if record is None:
        return Gap(name, "says FINISHED but holds no record.json; repeat it with --again")
    return _usable(record, folder, name)


def _usable(record: RunRecord, folder: RunFolder | None, name: str) -> Run | Gap:
    if record.state != "FINISHED":
        return Gap(name, _unfinished(record.state, record.error))
    run = Run(record, folder)
    try:
        _ = run._pairs
    except (OSError, ValueError) as error:
        return Gap(name, f"its pairs.npz is damaged ({one_line(error, 120)}); repeat the run with --again")
    return run


def _unfinished(state: str, error: str | None) -> str:
    words = {"RUNNING": "not finished: still running", "KILLED": "not finished: killed", "FAILED": "failed"}
    return f"{words[state]}: {error}" if error else words[state]


def _why_unreadable(item: Path, error: Exception) -> str:
    path = item if item.is_file() else item / "record.json"
    try:
        version = json.loads(path.read_bytes()).get("schema_version")
    except (OSError, ValueError, AttributeError):
        return "its record is not JSON; repeat the run with --again"
    if version != _SCHEMA:
        return (
            f"its record has schema {version}, this version reads {_SCHEMA}; report it with the version that "
            "wrote it, or repeat the run"
        )
    lines = str(error).splitlines()
    return f"its record is damaged: {lines[0] if lines else type(error).__name__}"
