"""`bench speed`: what it records, the page it writes, the comparison of two commits; on toy races."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import textwrap
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.results import Code
from bench.speed import Contestant, Provenance, Ratio, Results, Row, compare, measure, write_page

from .conftest import Bench

# Not bench.speed's find_races: these tests also run on the installed wheel, which has no tests beside it.
RACES = Path(__file__).resolve().parents[1] / "speed"

TOY = """\
import time
from .conftest import Race, Seconds


def test_sums(race: Race) -> None:
    race("Sums", "a million", ours=lambda: Seconds(0.002), peers={"other": lambda: Seconds(0.01)},
         limit=("nothing", lambda: Seconds(0.001)), left_out={"slow": "it takes a year"}, per=2,
         details=lambda: {"parts": 3.0}, columns=lambda: {"numbers": 1e6})


def test_once(race: Race) -> None:
    calls = []
    race("Sums", "once", ours=lambda: calls.append(0), columns=lambda: {"calls": len(calls)}, once=True)


def test_broken(race: Race) -> None:
    def same(mine: object, other: object) -> None:
        assert mine == other, "they disagree"

    race("Sums", "broken", ours=lambda: 1, peers={"other": lambda: 2}, same=same)


def test_plain(benchmark) -> None:
    benchmark.group = "Plain"
    benchmark.pedantic(lambda: None, rounds=3)
"""
RUN = Provenance(
    command="bench speed",
    date="2026-01-02T03:04:05+00:00",
    commit="0123456789",
    dirty=False,
    cpu="a CPU",
    threads=1,
    load=0.5,
    packages={"torch": "2.9", "mlflow": "not installed"},
)


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A checkout with the races above and ours of no other kind."""
    folder = tmp_path / "tree" / "tests" / "speed"
    folder.mkdir(parents=True)
    (folder / "conftest.py").write_text((RACES / "conftest.py").read_text())
    (folder / "test_toy_speed.py").write_text(TOY)
    (folder.parents[1] / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\nfilterwarnings = ["error"]\n'
    )
    return folder


def a_row(name: str, ours: float, peer: float, **changes: object) -> Row:
    contestants = (
        Contestant(name="ours", role="ours", times_s=(ours, ours, ours), peak_mib=10.0),
        Contestant(name="other", role="peer", times_s=(peer, peer, 4 * peer), peak_mib=2000.0),
        Contestant(name="reading", role="limit", times_s=(ours / 4, ours / 4, ours / 4)),
    )
    row = Row(table="Sums", row=name, device="cpu", contestants=contestants, provenance="run")
    return row.model_copy(update=changes)


def test_races_are_recorded_and_those_that_fail_are_named(toys: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    written, failures = measure(toys, None, tmp_path / "results", "bench speed", heard.append)
    assert [path.name for path in written] == ["toy.json"]
    assert len(failures) == 1 and "test_broken" in failures[0]
    assert heard == ["test_sums: passed", "test_once: passed", "test_broken: failed", "test_plain: passed"]
    results = Results.read(written[0])
    sums, once, plain = results.rows
    assert sums.columns == {"numbers": 1e6}
    assert once.columns == {"calls": 1} and len(once.ours.times_s) == 1
    assert (sums.table, sums.row, sums.left_out, sums.details) == (
        "Sums",
        "a million",
        {"slow": "it takes a year"},
        {"parts": 3.0},
    )
    assert [(it.name, it.role, it.median_s) for it in sums.contestants] == [
        ("ours", "ours", 0.001), ("other", "peer", 0.005), ("nothing", "limit", 0.0005),
    ]  # fmt: skip
    assert len({len(it.times_s) for it in sums.contestants}) == 1 and len(sums.ours.times_s) >= 3
    assert (plain.table, plain.row, len(plain.ours.times_s)) == ("Plain", "plain", 3)
    run = results.runs[sums.provenance]
    assert run.command == "bench speed" and "torch" in run.packages


def test_results_of_one_file_do_not_make_the_tree_of_the_next_a_changed_one(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (toys / "test_more_speed.py").write_text(TOY)
    results = tmp_path / "results"
    monkeypatch.setattr(
        importlib.import_module("bench.speed.measure"),  # by its name there the function is found
        "code_version",
        lambda: Code(version="0", git_commit="0" * 40, git_dirty=results.exists()),
    )
    written, _ = measure(toys, "sums", results, "bench speed", lambda text: None)
    assert [path.name for path in written] == ["more.json", "toy.json"]
    assert [run.dirty for path in written for run in Results.read(path).runs.values()] == [False, False]


def test_a_process_that_dies_loses_its_own_file_alone(toys: Path, tmp_path: Path) -> None:
    (toys / "test_deadly_speed.py").write_text(
        "import os\n\n\ndef test_death(benchmark) -> None:\n    os.kill(os.getpid(), 9)\n"
    )
    written, failures = measure(toys, "sums or death", tmp_path / "results", "bench speed", lambda text: None)
    assert [path.name for path in written] == ["toy.json"]
    assert failures == ["test_deadly_speed.py: did not end: killed by signal 9; out of memory?"]


def test_a_part_that_is_measured_again_replaces_its_rows_alone(toys: Path, tmp_path: Path) -> None:
    path = tmp_path / "results" / "toy.json"
    Results().with_rows([a_row("old", 1.0, 2.0), a_row("a million", 9.0, 9.0)], "run", RUN).write(path)
    (toys / "test_another_speed.py").write_text("def test_other(benchmark) -> None:\n    benchmark(list)\n")
    measure(toys, "sums", tmp_path / "results", "bench speed --only sums", lambda text: None)
    results = Results.read(path)
    assert [(row.row, row.ours.median_s) for row in results.rows] == [("old", 1.0), ("a million", 0.001)]
    assert {run.command for run in results.runs.values()} == {"bench speed", "bench speed --only sums"}


def test_a_run_without_rows_left_is_dropped() -> None:
    results = Results().with_rows([a_row("one", 1.0, 2.0)], "run", RUN)
    assert list(results.with_rows([a_row("one", 1.0, 3.0, provenance="new")], "new", RUN).runs) == ["new"]


def test_a_pattern_that_matches_nothing_says_how_to_list_them(toys: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        measure(toys, "nothing_like_it", tmp_path, "bench speed", lambda text: None)
    assert str(error.value) == (
        f"no test of {toys} matches --only 'nothing_like_it'; 'pytest {toys} --co -q' lists them"
    )


def test_the_page_has_ratios_round_by_round_limits_memory_and_origin(tmp_path: Path) -> None:
    row = a_row("a million", 0.002, 0.01, left_out={"slow": "it takes a year"}, details={"parts": 3.0})
    Results().with_rows([row], "run", RUN).write(tmp_path / "speed" / "toy.json")
    (tmp_path / "speed" / "notes.md").write_text("## A note\n")
    write_page(tmp_path / "speed", tmp_path / "SPEED.md")
    page = (tmp_path / "SPEED.md").read_text()
    assert (
        textwrap.dedent("""\
        ## Sums

        |  | ours | other | slow | limit | memory, MiB |
        | --- | --- | --- | --- | --- | --- |
        | a million | 2 ms | 10 ms (**5x**, 5 to 20) | left out | reading: 500 us (0.25) | 10 / 2,000 |

        - slow is left out where it takes a year
        - a million: parts 3

        """)
        in page
    )
    assert (
        "\n\nMeasured 2026-01-02T03:04:05+00:00 by `bench speed` at commit 01234567; a CPU, 1 torch thread, "
        "load 0.5 at the end; torch 2.9.\n"
    ) in page
    assert "## Still far from the limit" in page and "- Sums, a million: 4 times 'reading'" in page
    assert page.endswith("## A note\n")


def test_damaged_results_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text("{")
    with pytest.raises(UserError, match=r"toy.json: no results of 'bench speed' \(.*\); delete it") as error:
        Results.read(tmp_path / "toy.json")
    assert "\n" not in str(error.value)


def test_a_ratio_has_students_interval_over_the_logarithms() -> None:
    ratio = Ratio.of([1.0, 4.0])
    assert ratio.value == pytest.approx(2.0)
    # logarithms 0 and ln 4: standard deviation ln 4 / sqrt 2, error ln 4 / 2, times 12.71
    assert ratio.high == pytest.approx(2.0 * 4.0 ** (12.71 / 2))
    assert not ratio.is_clear and Ratio.of([2.0, 2.01, 1.99]).is_clear
    assert math.isinf(Ratio.of([2.0]).high)


def test_two_commits_race_in_turns(toys: Path) -> None:
    """The races stay those of the tree; what they import is each commit's."""
    tree = toys.parents[1]
    (toys / "test_toy_speed.py").write_text(
        "import pace\nfrom .conftest import Race, Seconds\n\n\n"
        "def test_pace(race: Race) -> None:\n"
        "    race('Pace', 'one', ours=lambda: Seconds(pace.seconds), peers={'other': lambda: 1 / 0})\n"
    )
    git = ("git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@b")
    (tree / "pace.py").write_text("seconds = 0.4\n")
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "slow")):
        subprocess.run([*git, *command], check=True)
    (tree / "pace.py").write_text("seconds = 0.1\n")
    heard: list[str] = []
    (found,) = compare(toys, "HEAD", None, 2, heard.append)
    assert heard == [
        "pass 1 of 2: this tree",
        "pass 1 of 2: HEAD",
        "pass 2 of 2: HEAD",
        "pass 2 of 2: this tree",
    ]
    assert (found.table, found.row, found.before_s, found.after_s) == ("Pace", "one", 0.4, 0.1)
    assert found.ratio.value == pytest.approx(4.0) and found.ratio.is_clear
    listed = subprocess.run([*git, "worktree", "list"], capture_output=True, text=True, check=True).stdout
    assert len(listed.splitlines()) == 1, "the other commit's folder is left behind"


def test_an_unknown_commit_is_refused(toys: Path) -> None:
    subprocess.run(["git", "-C", str(toys.parents[1]), "init", "-q"], check=True)
    with pytest.raises(UserError) as error:
        compare(toys, "nonsense", None, 2, lambda text: None)
    tree = toys.parents[1]
    assert str(error.value) == f"--compare nonsense: not a commit of {tree}; 'git log --oneline' lists them"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--record", "faster"], "--record keeps a comparison; say with which commit: --compare REV"),
        (["--page", "--only", "losses"], "--page measures nothing; leave out --only and --compare"),
    ],
)
def test_options_that_do_not_go_together(bench_command: Bench, options: list[str], message: str) -> None:
    ended = bench_command("speed", *options)
    assert (ended.code, ended.err.strip()) == (2, message)


def test_the_page_in_the_repository_is_that_of_its_results(tmp_path: Path) -> None:
    docs = RACES.parents[1] / "docs"
    if not (docs / "SPEED.md").exists():
        pytest.skip("needs docs/SPEED.md: run bench speed")
    write_page(docs / "speed", tmp_path / "SPEED.md")
    assert (tmp_path / "SPEED.md").read_text() == (docs / "SPEED.md").read_text(), "run: bench speed --page"
    for path in (docs / "speed").glob("*.json"):
        assert json.loads(path.read_text())["rows"], path


def test_the_page_says_how_time_grows_where_rows_tell_their_size(tmp_path: Path) -> None:
    rows = [
        a_row(f"of {size}", seconds, 1.0, size=size) for size, seconds in ((10, 1), (100, 10), (1000, 100))
    ]
    Results(runs={"run": RUN}, rows=tuple(rows)).write(tmp_path / "results" / "sums.json")
    write_page(tmp_path / "results", tmp_path / "page.md")
    said = "time grows as size to the power of 1.00 (least squares on log axes); at the end 1.00"
    assert said in (tmp_path / "page.md").read_text()
    rows[-1] = a_row("of 1000", 1000.0, 1.0, size=1000)
    Results(runs={"run": RUN}, rows=tuple(rows)).write(tmp_path / "results" / "sums.json")
    write_page(tmp_path / "results", tmp_path / "page.md")
    assert (
        "the power of 1.50 (least squares on log axes); at the end 2.00" in (tmp_path / "page.md").read_text()
    )


def test_two_sizes_are_no_law(tmp_path: Path) -> None:
    rows = tuple(a_row(f"of {size}", float(size), 1.0, size=size) for size in (1, 10))
    Results(runs={"run": RUN}, rows=rows).write(tmp_path / "results" / "sums.json")
    write_page(tmp_path / "results", tmp_path / "page.md")
    assert "grows" not in (tmp_path / "page.md").read_text()


def test_figures_of_a_table_are_columns_of_it(tmp_path: Path) -> None:
    def row(name: str, **columns: float) -> Row:
        own = Contestant(name="ours", role="ours", times_s=(0.25,))
        return a_row(name, 1.0, 1.0, contestants=(own,), columns=columns)

    rows = [row("one", images=12.345, share=0.5), row("two", images=12345.6)]
    Results().with_rows(rows, "run", RUN).write(tmp_path / "results" / "toy.json")
    write_page(tmp_path / "results", tmp_path / "page.md")
    assert (
        textwrap.dedent("""\
        |  | ours | images | share |
        | --- | --- | --- | --- |
        | one | 250 ms | 12.3 | 0.5 |
        | two | 250 ms | 12,346 |  |
        """)
        in (tmp_path / "page.md").read_text()
    )
