"""`bench compare` and `bench report` as they are typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from .conftest import Bench

COMPARISON = """\
description: what changes do to tiny
base: tiny
seeds: 2
variants:
  slow: [optimizer.learning_rate=1e-5]
"""


@pytest.mark.slow
def test_compare_runs_what_is_missing_once_then_reports(bench_command: Bench) -> None:
    first = bench_command(
        "compare", "tiny.yaml", "train.max_steps=3", "tracking.enabled=false", "--seeds", "2"
    )
    assert first.code == 0, first.err
    assert "2 runs, 0 finished before, 2 to train; how long one takes here is not known yet\n" in first.err
    assert first.out.endswith("report of 2 runs: runs/report/report.md, runs/report/report.html\n")
    text = Path("runs/report/report.md").read_text()
    assert "bench compare tiny.yaml train.max\\_steps" not in text  # commands stand in a block of code
    assert "bench compare tiny.yaml train.max_steps=3 tracking.enabled=false --seeds 2" in text
    written = {path: path.stat().st_mtime_ns for path in Path("runs").glob("tiny-*/record.json")}

    again = bench_command(
        "compare", "tiny.yaml", "train.max_steps=3", "tracking.enabled=false", "--seeds", "2"
    )
    assert "2 runs, all finished before; nothing to train\n" in again.err
    assert {path: path.stat().st_mtime_ns for path in Path("runs").glob("tiny-*/record.json")} == written
    assert Path("runs/report/report.md").read_text() == text

    more = bench_command(
        "compare", "tiny.yaml", "train.max_steps=3", "tracking.enabled=false", "--seeds", "3"
    )
    assert "3 runs, 2 finished before, 1 to train; about 1 min, going by the finished ones\n" in more.err


@pytest.mark.slow
def test_a_comparison_file_runs_base_and_variants_and_draws_the_waterfall(bench_command: Bench) -> None:
    Path("cmp.yaml").write_text(COMPARISON)
    ended = bench_command("compare", "cmp.yaml", "train.max_steps=3", "tracking.enabled=false")
    assert ended.code == 0, ended.err
    text = Path("runs/report/report.md").read_text()
    assert text.startswith("# what changes do to tiny\n")
    assert "| slow vs tiny | accuracy |" in text
    assert "rendered_waterfall_accuracy.svg" in text
    assert "Learning rate: 0.001 for tiny; 1e-05 for slow." in text


@pytest.mark.slow
def test_runs_that_failed_are_gaps_and_give_the_exit_code(bench_command: Bench) -> None:
    Path("cmp.yaml").write_text(COMPARISON.replace("1e-5", "1e30"))
    ended = bench_command(
        "compare",
        "cmp.yaml",
        "tracking.enabled=false",
        "optimizer={name: sgd, learning_rate: 0.1}",
        "--seeds",
        "1",
    )
    assert ended.code == 1
    assert "not in the report: slow-" in ended.err
    assert "report of 1 run:" in ended.out
    assert "## What is missing" in Path("runs/report/report.md").read_text()


@pytest.mark.slow
def test_reports_show_people_and_what_is_finished_begins_no_process(
    bench_command: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("compare", "tiny.yaml", "train.max_steps=3", "tracking.enabled=false", "--seeds", "1")
    first = bench_command(*arguments)
    assert first.code == 0, first.err
    assert "1 run, 0 finished before, 1 to train" in first.err
    assert "training 3 steps (train.max_steps; 3 epochs would be " in first.err
    names = {path.stem for path in Path("runs/report/figures").glob("*.png")}
    assert {"rendered_embedding_map", "rendered_hardest_pairs"} <= names

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process begins")

    monkeypatch.setattr("bench.pool.run_jobs", refuse)
    again = bench_command(*arguments)
    assert (again.code, again.err) == (0, "1 run, all finished before; nothing to train\n")
    twins = bench_command("compare", "tiny.yaml", "./tiny.yaml", *arguments[2:])
    assert (twins.code, twins.err) == (2, "./tiny.yaml: is the same run as tiny.yaml (settings and seed)\n")

    # other data than the finished run had: said, not passed over
    (record,) = Path("runs").glob("tiny-*/record.json")
    checksum = json.loads(record.read_text())["data_checksum"]
    record.write_text(record.read_text().replace(checksum, "0" * 64))
    other = bench_command(*arguments)
    assert other.code == 2
    assert "holds this run on other data (checksum 000000000000, now " in other.err


def test_a_mistake_in_a_variant_names_its_line(bench_command: Bench) -> None:
    Path("cmp.yaml").write_text(COMPARISON.replace("learning_rate", "learning_rat"))
    ended = bench_command("compare", "cmp.yaml")
    assert (ended.code, ended.err) == (
        2,
        "cmp.yaml:5: variants.slow: optimizer.learning_rat: unknown key; did you mean 'learning_rate'?\n",
    )
    assert not Path("runs").exists()


def test_a_variant_that_changes_nothing_is_refused(bench_command: Bench) -> None:
    Path("cmp.yaml").write_text(COMPARISON.replace("1e-5", "1e-3"))
    ended = bench_command("compare", "cmp.yaml")
    assert (ended.code, ended.err) == (
        2,
        "cmp.yaml:5: variants.slow: asks for the same settings as the base; change something\n",
    )


def test_a_comparison_file_comes_alone(bench_command: Bench) -> None:
    Path("cmp.yaml").write_text(COMPARISON)
    ended = bench_command("compare", "center", "cmp.yaml")
    assert (ended.code, ended.err) == (2, "cmp.yaml: is a comparison of its own; give it alone\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["somewhere"], "somewhere: say --dir somewhere for a folder, or --runs somewhere for an MLflow run"),
        (
            ["--dir", "runs", "--experiment", "x"],
            "--dir, --experiment and --runs say where the runs are: choose one of them",
        ),
        ([], "runs: no such folder; name one that holds run folders, such as runs"),
        (
            ["--readme", "tiny.yaml"],
            "--readme: tiny.yaml names no records; put '<!-- figures of FOLDER -->' and '<!-- end of figures "
            "-->' where their table is to stand",
        ),
    ],
)
def test_what_cannot_be_reported_is_one_line(
    bench_command: Bench, arguments: list[str], message: str
) -> None:
    ended = bench_command("report", *arguments)
    assert (ended.code, ended.err) == (2, f"{message}\n")


@pytest.mark.slow
def test_reports_from_mlflow_and_from_the_folders_are_the_same(bench_command: Bench) -> None:
    assert bench_command("run", "tiny.yaml", "train.max_steps=3").code == 0
    assert bench_command("report", "--no-faces", "--out", "a").code == 0
    ended = bench_command("report", "--experiment", "faceloss-bench", "--out", "b", "--log")
    assert ended.code == 0, ended.err
    assert re.search(r"stored in MLflow as run [0-9a-f]{32}\n$", ended.out)
    for path in Path("a").rglob("*.*"):
        assert (Path("b") / path.relative_to("a")).read_bytes() == path.read_bytes()
    # the report is no training run: it is not in the next report
    again = bench_command("report", "--experiment", "faceloss-bench", "--out", "b")
    assert "report of 1 run:" in again.out


@pytest.mark.slow
def test_tables_of_a_readme_come_from_the_records_it_names(bench_command: Bench) -> None:
    assert bench_command("run", "tiny.yaml", "train.max_steps=3", "tracking.enabled=false").code == 0
    assert bench_command("report", "--out", "docs", "--records").code == 0
    Path("README.md").write_text(
        "before\n<!-- figures of docs/records -->\nold\n<!-- end of figures -->\nafter\n"
    )
    ended = bench_command("report", "--readme", "README.md")
    assert ended.out == "README.md: 1 table(s), brought up to date\n"
    text = Path("README.md").read_text()
    assert text.startswith("before\n<!-- figures of docs/records -->\n\n| configuration | seeds |")
    assert text.endswith("\n<!-- end of figures -->\nafter\n")
    assert "old" not in text
    assert bench_command("report", "--readme", "README.md").out == "README.md: 1 table(s), up to date\n"
