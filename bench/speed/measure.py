"""Runs tests/speed in a process of its own and reads what the races say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.results import Code, code_version, cpu_name, now, package_versions, to_the_second
from bench.speed.results import Contestant, Provenance, Results, Row

_ENDED = re.compile(r".*::(test_\S+) (PASSED|FAILED|SKIPPED|ERROR)")  # pytest -v


@dataclass(frozen=True, slots=True)
class Measured:
    """A race as it came out of the process.

    Args:
        row: its result.
        threads: that torch used.
    """

    row: Row
    threads: int


def find_races() -> Path:
    """The folder tests/speed of this checkout.

    Raises:
        UserError: the package is installed without its tests.
    """
    folder = Path(__file__).resolve().parents[2] / "tests" / "speed"
    if not folder.is_dir():
        raise UserError(
            f"{folder}: not found; 'bench speed' needs a checkout, for the tests are not installed: "
            "git clone, pip install -e '.[test]'"
        )
    return folder


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of a file of races.

    Args:
        races: those that ended well.
        failures: one line for each other.
    """

    races: list[Measured]
    failures: list[str]


def measure(
    folder: Path, only: str | None, results: Path, command: str, report: Callable[[str], None]
) -> tuple[list[Path], list[str]]:
    """Run the races and write the results of those that end well.

    Args:
        folder: tests/speed.
        only: which tests, in pytest's `-k` language; None: all.
        results: folder of the JSON files.
        command: what the user typed, for the record.
        report: hears of every race.

    Returns:
        The files that were written, and a line for each race that failed: its contestants disagree, one is
        broken, or it took too long.

    Raises:
        UserError: no such tests.
    """
    written, failures = [], []
    code = code_version()  # before the results of one file make the tree of the next a changed one
    for file in sorted(folder.glob("test_*_speed.py")):
        finished = run_races(file, only, report=report)
        failures += finished.failures
        if finished.races:
            area = file.stem.removeprefix("test_").removesuffix("_speed")
            written.append(_write(finished.races, results / f"{area}.json", command, code))
    if not written and not failures:
        raise UserError(f"no test of {folder} matches --only {only!r}; 'pytest {folder} --co -q' lists them")
    return written, failures


def _write(races: list[Measured], path: Path, command: str, code: Code) -> Path:
    provenance = Provenance(
        command=command,
        date=to_the_second(now()),
        commit=code.git_commit or "unknown",
        dirty=bool(code.git_dirty),
        cpu=cpu_name(),
        threads=max(race.threads for race in races),
        load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else float("nan"),
        packages=package_versions(),
    )
    key = f"{provenance.date}-{provenance.commit[:8]}"
    rows = [race.row.model_copy(update={"provenance": key}) for race in races]
    Results.read(path).with_rows(rows, key, provenance).write(path)
    return path


def run_races(
    file: Path,
    only: str | None,
    *,
    code: Path | None = None,
    environment: Mapping[str, str] | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Finished:
    """Run the races of a file in a new process: one that dies takes no other file's results with it.

    Args:
        file: tests/speed/test_<area>_speed.py.
        only: as in `measure`; where it matches none of the file's, nothing comes of it.
        code: root of the project whose `bench` and `losses` race; None: this one's.
        environment: variables of the process, beside those of this one.
        report: hears of every race as it ends.
    """
    tree = file.parents[2]
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as scratch:
        report_file = Path(scratch) / "report.json"
        command = [
            *(sys.executable, "-m", "pytest", str(file), "--rootdir", str(tree)),
            *("-c", str(tree / "pyproject.toml"), "-p", "no:cacheprovider", "-v"),
            *("--benchmark-enable", "--benchmark-only", "--benchmark-disable-gc"),
            *("--benchmark-json", str(report_file), "--timeout", "600"),
            # pytest-benchmark warns where nothing of a file was chosen
            *("-W", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning"),
            *(("-k", only) if only else ()),
        ]
        lines: list[str] = []
        with subprocess.Popen(
            command,
            cwd=scratch,
            env={**os.environ, **(environment or {}), "PYTHONPATH": str(code or tree), "PYTHONSAFEPATH": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                if ended := _ENDED.match(line):
                    report(f"{ended[1]}: {ended[2].lower()}")
        if process.returncode == 5:
            return Finished([], [])
        failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        if not report_file.exists() or (process.returncode and not failures):
            died = process.returncode < 0
            why = (
                f"killed by signal {-process.returncode}; out of memory?" if died else " ".join(lines)[-300:]
            )
            return Finished([], [*failures, f"{file.name}: did not end: {why}"])
        found: list[dict[str, Any]] = json.loads(report_file.read_text())["benchmarks"]
    failed = {failure.partition("::")[2].partition(" ")[0] for failure in failures}
    return Finished([_measured(entry) for entry in found if entry["name"] not in failed], failures)


def _measured(entry: Mapping[str, Any]) -> Measured:
    race = entry["extra_info"].get("race")
    if race is None:  # a plain benchmark of pytest-benchmark: nobody to race against
        contestant = Contestant(name="ours", role="ours", times_s=tuple(entry["stats"]["data"]))
        row = Row(
            table=entry["group"] or "Others",
            row=entry["name"].removeprefix("test_").replace("_", " "),
            device="cpu",
            contestants=(contestant,),
            provenance="",
        )
        return Measured(row, int(entry["extra_info"].get("threads", 1)))
    contestants = tuple(Contestant.model_validate(it) for it in race["contestants"])
    row = Row(
        table=race["table"],
        row=race["row"],
        device=race.get("device", "cpu"),
        contestants=contestants,
        left_out=race["left_out"],
        details=race["details"],
        columns=race.get("columns", {}),  # an older commit's races know of none
        size=race.get("size"),
        provenance="",
    )
    return Measured(row, race["threads"])
