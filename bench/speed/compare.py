"""Two commits, the same races, in turns."""

from __future__ import annotations

import math
import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bench.errors import BenchError, UserError
from bench.results import code_version, cpu_name, now, to_the_second, write_text
from bench.speed.measure import run_races

# two-sided 95 % of Student's t by degrees of freedom, from 1; beyond the table it is near the normal's
_T95 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


class Ratio(BaseModel):
    """How often the work of REV fits into ours: above 1 we became faster.

    Args:
        value: geometric mean over the passes of (REV's median / ours).
        low: lower end of its 95 % interval.
        high: upper end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, ratios: list[float]) -> Ratio:
        """Student's interval over the logarithms; without end for a single pass."""
        logs = [math.log(ratio) for ratio in ratios]
        middle = statistics.fmean(logs)
        if len(logs) < 2:
            return cls(value=math.exp(middle), low=0.0, high=math.inf)
        factor = _T95[min(len(logs) - 2, len(_T95) - 1)]
        half = factor * statistics.stdev(logs) / math.sqrt(len(logs))
        return cls(value=math.exp(middle), low=math.exp(middle - half), high=math.exp(middle + half))

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves 1 out."""
        return not self.low <= 1.0 <= self.high


class Comparison(BaseModel):
    """One race of both commits.

    Args:
        table: of the page.
        row: what was done.
        before_s: median over the passes of REV's median times.
        after_s: of ours.
        ratio: before / after.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    row: str
    before_s: float
    after_s: float
    ratio: Ratio


def compare(
    folder: Path, revision: str, only: str | None, passes: int, report: Callable[[str], None]
) -> list[Comparison]:
    """Race this working tree against another commit.

    The tests of this tree run on the packages of both, in fresh processes by turns (ours first in every other
    pass). Only our own contestants run.

    Args:
        folder: tests/speed of this tree.
        revision: what git calls the other commit.
        only: which tests, as `measure` takes it.
        passes: processes of each.
        report: hears of every pass.

    Raises:
        UserError: no such commit, or no checkout.
        BenchError: a test failed with this tree's packages; one that fails with the other's is left out.
    """
    here = folder.parents[1]
    times: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    quick = {"BENCH_SPEED_ONLY_OURS": "1", "BENCH_SPEED_BUDGET_S": "2"}
    files = sorted(folder.glob("test_*_speed.py"))
    with _checked_out(here, revision) as there:
        for number in range(passes):
            order = (1, 0) if number % 2 == 0 else (0, 1)
            for side in order:
                report(f"pass {number + 1} of {passes}: {'this tree' if side else revision}")
                for file in files:
                    finished = run_races(file, only, code=here if side else there, environment=quick)
                    if side and finished.failures:
                        raise BenchError(f"tests/speed: {finished.failures[0]}")
                    for race in finished.races:
                        key = (race.row.table, race.row.row)
                        times.setdefault(key, ([], []))[side].append(race.row.ours.median_s)
    if not times:
        raise UserError(f"no test of {folder} matches --only {only!r}; 'pytest {folder} --co -q' lists them")
    return [
        Comparison(
            table=table,
            row=row,
            before_s=statistics.median(before),
            after_s=statistics.median(after),
            ratio=Ratio.of([old / new for old, new in zip(before, after, strict=True)]),
        )
        for (table, row), (before, after) in times.items()
        if len(before) == len(after)  # a race that the other commit cannot run yet has nothing to compare
    ]


class Recorded(BaseModel):
    """A comparison that was kept: docs/speed/compare/<title>.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    command: str
    date: str
    before: str
    after: str
    passes: int
    cpu: str
    rows: tuple[Comparison, ...]

    @classmethod
    def read(cls, path: Path) -> Recorded:
        """The comparison in a file.

        Raises:
            UserError: it is damaged.
        """
        try:
            return cls.model_validate_json(path.read_text())
        except ValueError as error:
            raise UserError(
                f"{path}: no comparison of 'bench speed' ({str(error).splitlines()[0]}); delete it"
            ) from None


def record(
    folder: Path, rows: list[Comparison], *, title: str, revision: str, passes: int, command: str
) -> Path:
    """Keep a comparison for the page.

    Args:
        folder: of the files.
        rows: what `compare` found.
        title: what was gained, in words.
        revision: as the user called it.
        passes: processes of each.
        command: as it was typed.
    """
    root = Path(__file__).resolve().parents[2]
    kept = Recorded(
        title=title,
        command=command,
        date=to_the_second(now()),
        before=_git(root, "rev-parse", revision) or revision,
        after=code_version().git_commit or "unknown",
        passes=passes,
        cpu=cpu_name(),
        rows=tuple(rows),
    )
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')[:60]}.json"
    write_text(path, kept.model_dump_json(indent=1) + "\n")
    return path


@contextmanager
def _checked_out(root: Path, revision: str) -> Iterator[Path]:
    """The files of a commit in a folder of their own, for as long as the block lasts."""
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        raise UserError(f"--compare {revision}: not a commit of {root}; 'git log --oneline' lists them")
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as scratch:
        place = Path(scratch) / "tree"
        if _git(root, "worktree", "add", "--detach", str(place), commit) is None:
            raise UserError(f"--compare {revision}: git worktree add failed in {root}")
        try:
            yield place
        finally:
            _git(root, "worktree", "remove", "--force", str(place))


def _git(root: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
