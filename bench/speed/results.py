"""Recorded measurements: docs/speed/<area>.json, one file for each tests/speed/test_<area>_speed.py."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.errors import UserError
from bench.results import write_text

Role = Literal["ours", "peer", "limit"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Contestant(_Frozen):
    """One contestant's times in a race.

    Args:
        name: "ours", the peer's, or what the limit is.
        role: which of the three it is.
        times_s: seconds of each round, in order; round i of all contestants ran one after another.
        peak_mib: growth of the process' memory in a first call; None where it could not be asked for.
    """

    name: str
    role: Role
    times_s: tuple[float, ...]
    peak_mib: float | None = None

    @property
    def median_s(self) -> float:
        """Half of the rounds took less."""
        return statistics.median(self.times_s)

    @property
    def spread_s(self) -> tuple[float, float]:
        """First and third quartile; lowest and highest of fewer than four rounds."""
        if len(self.times_s) < 4:
            return min(self.times_s), max(self.times_s)
        low, _, high = statistics.quantiles(self.times_s, n=4, method="inclusive")
        return low, high

    def times_slower(self, ours: Contestant) -> tuple[float, float, float]:
        """Median, lowest and highest quartile of (its time / ours), round by round."""
        ratios = [theirs / mine for theirs, mine in zip(self.times_s, ours.times_s, strict=True)]
        paired = Contestant(name=self.name, role=self.role, times_s=tuple(ratios))
        return paired.median_s, *paired.spread_s


class Row(_Frozen):
    """One race.

    Args:
        table: heading of the page under which it stands.
        row: what was done.
        device: "cpu", or the GPU's name.
        contestants: ours first.
        left_out: name -> why it could not run.
        details: further figures.
        columns: further figures that the rows of its table share.
        size: of the work, where the rows of its table differ in nothing else.
        provenance: key of the run that it was measured in.
    """

    table: str
    row: str
    device: str
    contestants: tuple[Contestant, ...]
    left_out: dict[str, str] = {}
    details: dict[str, float] = {}
    columns: dict[str, float] = {}
    size: float | None = None
    provenance: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What a later measurement of the same replaces."""
        return self.table, self.row, self.device

    @property
    def ours(self) -> Contestant:
        """This project's contestant."""
        return next(it for it in self.contestants if it.role == "ours")

    def others(self, role: Role) -> list[Contestant]:
        """All contestants of a role."""
        return [it for it in self.contestants if it.role == role]


class Provenance(_Frozen):
    """Where, when and by what command rows were measured."""

    command: str
    date: str
    commit: str
    dirty: bool
    cpu: str
    threads: int
    load: float
    packages: dict[str, str]


class Results(_Frozen):
    """The rows of one area, and the runs that they come from."""

    runs: dict[str, Provenance] = {}
    rows: tuple[Row, ...] = ()

    def with_rows(self, rows: Iterable[Row], key: str, provenance: Provenance) -> Results:
        """New rows in the places of old ones of the same name, others at the end; runs without rows go."""
        merged = {row.key: row for row in self.rows} | {row.key: row for row in rows}
        runs = {**self.runs, key: provenance}
        used = {row.provenance for row in merged.values()}
        return Results(
            runs={name: run for name, run in sorted(runs.items()) if name in used},
            rows=tuple(merged.values()),
        )

    @classmethod
    def read(cls, path: Path) -> Results:
        """The results in a file; none where there is no file.

        Raises:
            UserError: it is damaged.
        """
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_text())
        except ValueError as error:
            raise UserError(
                f"{path}: no results of 'bench speed' ({str(error).splitlines()[0]}); delete it"
            ) from None

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_text(path, self.model_dump_json(indent=1) + "\n")
