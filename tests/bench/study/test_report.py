"""The report of a study: trials told to its ledger, then read by a person."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from bench.results import RunFolder
from bench.study.config import load_study
from bench.study.report import make_report, read_search, study_report
from bench.tracking.contents import artifacts
from reports.markdown import to_markdown

from ...reports.conftest import maker
from ..conftest import Bench
from .conftest import Open

FAILURE = "step 3: the loss is nan | <b>stop</b>"


@pytest.fixture
def studied(open_ledger: Open) -> Open:
    """Six trials of `my`: four complete, one pruned after an evaluation, one failed twice over."""
    ledger = open_ledger("study.trials=7")
    for accuracy in (0.7, 0.8, 0.95, 0.9):
        claim = ledger.claim()
        assert claim is not None
        ledger.report(claim, 5, {"validation/accuracy": accuracy - 0.1})
        assert ledger.complete(claim, {"validation/accuracy": accuracy}) is None
    claim = ledger.claim()
    assert claim is not None
    ledger.report(claim, 5, {"validation/accuracy": 0.5})
    ledger.prune(claim)
    for _ in range(2):
        claim = ledger.claim()
        assert claim is not None
        ledger.fail(claim, FAILURE)
    return open_ledger


def rows_below(text: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    table = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_has_best_importance_budget_and_failures_by_reason(studied: Open, tmp_path: Path) -> None:
    ledger = studied("study.trials=7")
    made = make_report(ledger.study, load_study("my.yaml", ["study.trials=7"]), tmp_path / "nowhere")
    best = ledger.study.best_trial
    assert made.verdicts == (
        "5 of 7 trials finished: 4 complete, 1 pruned; 2 failed.",
        f"Best validation/accuracy: 0.9500, trial 2 with loss.factor={best.params['loss.factor']:.4g}, "
        f"optimizer.learning_rate={best.params['optimizer.learning_rate']:.4g}.",
    )
    text = to_markdown(made.document)
    assert [row[:2] for row in rows_below(text, "Best")] == [["2", "0.9500"]]
    shares = [float(row[1]) for row in rows_below(text, "Importance")]
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(1, abs=0.02)
    assert [row[:3] for row in rows_below(text, "Budget")] == [
        ["complete", "4", "not recorded"],
        ["pruned", "1", "not recorded"],
        ["failed", "2", "not recorded"],
    ]
    assert "Of 7 of 7 trials no record lies here: their images are not counted." in text
    # a message is text, whatever stands in it
    assert r"| step 3: the loss is nan \| \<b\>stop\</b\> | 2 | 5, 6 |" in text
    assert [row[1] for row in rows_below(text, "Trials")] == ["complete"] * 4 + ["pruned"] + ["failed"] * 2


def test_a_trial_that_was_interrupted_took_all_its_starts_together(studied: Open, tmp_path: Path) -> None:
    (run,) = maker(tmp_path)("softmax").glob("softmax-*")  # its record: 38,400 images in 60 s
    (tmp_path / "trials/0002").mkdir(parents=True)
    run.rename(tmp_path / "trials/0002" / run.name)
    study = studied("study.trials=7").study  # Optuna: hundredths of a second since the last start
    text = to_markdown(make_report(study, load_study("my.yaml", ["study.trials=7"]), tmp_path).document)
    assert [row[-3:-1] for row in rows_below(text, "Trials")[1:3]] == [["0", ""], ["60", "38,400"]]
    assert rows_below(text, "Budget")[0] == ["complete", "4", "38,400", "38,400", "1.0", "0"]


def test_bench_report_writes_what_the_study_itself_writes_and_reads_only(
    studied: Open, bench_command: Bench
) -> None:
    studied("study.trials=7")
    journal = Path("runs/studies/my/journal.log").read_bytes()
    ended = bench_command("report", "--study", "my", "--out", "out")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("5 of 7 trials finished: 4 complete, 1 pruned; 2 failed.\nBest ")
    assert ended.out.endswith("report of study my: out/report.md, out/report.html\n")
    assert Path("runs/studies/my/journal.log").read_bytes() == journal
    names = {path.name for path in Path("out/figures").iterdir()}
    pictures = ("history", "importance", "slice", "parallel_coordinate", "intermediate_values")
    assert names == {f"{name}.{ending}" for name in pictures for ending in ("svg", "png")}
    written = {path: path.read_bytes() for path in Path("out").rglob("*.*")}
    assert bench_command("report", "--study", "my", "--out", "out").code == 0
    assert {path: path.read_bytes() for path in Path("out").rglob("*.*")} == written

    rows = list(csv.DictReader(Path("out/table.csv").read_text().splitlines()))
    assert [row["state"] for row in rows].count("failed") == 2
    study = studied("study.trials=7").study
    assert [float(row["loss.factor"]) for row in rows] == [
        trial.params["loss.factor"] for trial in study.trials
    ]


def test_without_out_the_report_lies_with_the_study_and_goes_to_mlflow_from_there(
    studied: Open, bench_command: Bench
) -> None:
    studied("study.trials=7")
    assert bench_command("report", "--study", "my").code == 0
    folder = RunFolder(Path("runs/studies/my"))
    delivered = {path.name for path, _ in artifacts(folder, ended=True, with_checkpoint=False)}
    assert {"report.md", "report.html", "history.png", "slice.svg"} <= delivered


def test_pruned_trials_keep_where_they_stood(studied: Open) -> None:
    ledger = studied("study.trials=7")
    search = read_search(ledger.study, load_study("my.yaml"), Path("nowhere"))
    (pruned,) = search.of("pruned")
    assert (pruned.values, list(pruned.curve.values())) == ((), [0.5])
    assert search.best == (2,)


def test_a_study_without_a_complete_trial_says_so(open_ledger: Open) -> None:
    ledger = open_ledger()
    claim = ledger.claim()
    assert claim is not None
    made = make_report(ledger.study, load_study("my.yaml"), Path("nowhere"))
    assert made.verdicts[-1] == "No trial is complete."
    assert made.document.pictures() == []
    assert "Not computed: that needs 4 complete trials that differ." in to_markdown(made.document)


def test_several_objectives_have_a_front_and_figures_of_each(workspace: Path, open_ledger: Open) -> None:
    text = Path("my.yaml").read_text().replace(
        "objective: {metric: validation/accuracy}",
        "objective: [{metric: validation/accuracy}, {metric: validation/eer}]",
    )  # fmt: skip
    Path("my.yaml").write_text(text)
    ledger = open_ledger("study.trials=5")
    for accuracy, eer in ((0.7, 0.1), (0.8, 0.2), (0.75, 0.3), (0.6, 0.4), (0.65, 0.25)):
        claim = ledger.claim()
        assert claim is not None
        ledger.complete(claim, {"validation/accuracy": accuracy, "validation/eer": eer})
    made = make_report(ledger.study, load_study("my.yaml"), Path("nowhere"))
    assert made.verdicts[1] == "Beaten by no other in validation/accuracy and validation/eer: trial 0, 1."
    names = [picture.name for picture in made.document.pictures()]
    assert names[0] == "pareto_front"
    assert {"history-accuracy", "history-eer", "slice-eer", "importance-accuracy"} <= set(names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--study", "myy"), "runs/studies/myy/journal.log: no such study; did you mean 'my'?"),
        (
            ("--study", "my", "--baseline", "x"),
            "--baseline: compares runs, and --study reports a search; leave one of them out",
        ),
        (("--storage", "postgresql://x"), "--storage: says where a study is; name it with --study"),
        (
            ("--study", "my", "--dir", "a", "--dir", "b"),
            "--study: is below one folder of runs; give --dir once",
        ),
    ],
)
def test_a_mistake_is_one_line(
    studied: Open, bench_command: Bench, arguments: tuple[str, ...], message: str
) -> None:
    ended: Any = bench_command("report", *arguments)
    assert (ended.code, ended.err) == (2, f"{message}\n")


def test_a_study_is_reported_from_its_own_folder_of_runs(studied: Open, workspace: Path) -> None:
    studied("study.trials=7")
    Path("runs").rename("elsewhere")
    assert study_report("my", Path("elsewhere"), None).verdicts[0].startswith("5 of 7 trials")
