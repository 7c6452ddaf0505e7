"""`bench study` from the file to MLflow, as a person sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.results import RunFolder, read_metrics

Bench = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("tiny_study")


def runs_in_mlflow() -> list[Any]:
    from bench.tracking.politeness import polite_mlflow

    with polite_mlflow():
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("faceloss-bench")
        assert experiment is not None
        return list(client.search_runs([experiment.experiment_id]))


def optuna_trials() -> list[Any]:
    import optuna

    from bench.study.storage import open_journal_to_read

    storage = open_journal_to_read(Path("runs/studies/my/journal.log"))
    return optuna.load_study(study_name="my", storage=storage).trials


def test_a_study_from_the_file_to_the_winner(bench_command: Bench) -> None:
    result = bench_command("study", "my.yaml", "pruner={name: median, startup_trials: 1}", "--trials", "4")
    assert result.code == 0, result.err
    trials = optuna_trials()
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    pruned = len(trials) - len(complete)
    assert f"my: 4 trials finished ({pruned} of them pruned), 0 failed" in result.out
    assert f"trial 0: validation/accuracy {trials[0].values[0]:.4f} in" in result.err
    assert "4/4 finished" in result.err

    # MLflow: one run for the study, one for each trial
    runs = runs_in_mlflow()
    (parent,) = [run for run in runs if run.info.run_name == "my"]
    children = {
        int(run.data.tags["trial_number"]): run
        for run in runs
        if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    assert sorted(children) == [0, 1, 2, 3]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["trials_complete"] == str(len(complete))
    import optuna

    from bench.study.storage import open_journal_to_read

    storage = open_journal_to_read(Path("runs/studies/my/journal.log"))
    study = optuna.load_study(study_name="my", storage=storage)
    for trial in trials:
        run = children[trial.number]
        assert run.data.tags["trial_state"] == trial.state.name
        assert run.info.status == {"COMPLETE": "FINISHED", "PRUNED": "KILLED"}[trial.state.name]
        assert study.user_attrs[f"mlflow_run_id:{trial.number}"] == run.info.run_id
        assert float(run.data.params["loss.factor"]) == trial.params["loss.factor"]
        (folder,) = Path(f"runs/studies/my/trials/{trial.number:04d}").glob("my-*")
        told = [
            line.metrics["validation/accuracy"]
            for line in read_metrics(folder / "metrics.jsonl")
            if "validation/accuracy" in line.metrics
        ]
        assert told == list(trial.intermediate_values.values())
        record = RunFolder(folder).record()
        assert record is not None
        assert record.protocols == {}  # a search does not read the test

    # the report, and what MLflow has of it
    report = Path("runs/studies/my/report.md").read_text()
    best = study.best_trial
    assert f"| {best.number} | {best.value:.4f} | {best.params['loss.factor']:.4g} |" in report
    assert parent.data.tags["best_trial"] == str(best.number)
    pictures = {path.name for path in Path("runs/studies/my/figures").glob("*.png")}
    assert {"history.png", "slice.png", "intermediate_values.png"} <= pictures

    # again: nothing is done twice
    again = bench_command("study", "my.yaml", "pruner={name: median, startup_trials: 1}", "--trials", "4")
    assert again.code == 0
    assert len(optuna_trials()) == 4

    # the winner repeats its trial, exactly
    winner = bench_command("study", "best", "my")
    Path("best.yaml").write_text(winner.out)
    assert bench_command("run", "best.yaml", "tracking.enabled=false").code == 0
    (repeated,) = Path("runs").glob("my-best-*/record.json")
    (original,) = Path(f"runs/studies/my/trials/{best.number:04d}").glob("*/record.json")
    repeated_record, original_record = (json.loads(path.read_text()) for path in (repeated, original))
    assert repeated_record["config_hash"] == original_record["config_hash"]
    assert repeated_record["validation"] == original_record["validation"]

    # and Optuna's own command opens the study
    arguments = ["--storage", "runs/studies/my/journal.log", "--study-name", "my", "-f", "json"]
    code = "import sys; from optuna.cli import main; sys.exit(main())"
    listed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, "trials", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [row["state"] for row in json.loads(listed.stdout)] == [trial.state.name for trial in trials]


def test_enqueued_settings_are_tried_first(bench_command: Bench) -> None:
    Path("guess.yaml").write_text("extends: tiny.yaml\nloss: {factor: 0.05}\n")
    result = bench_command(
        "study", "my.yaml", "--trials", "1", "--enqueue", "guess.yaml", "tracking.enabled=false"
    )
    assert result.code == 0, result.err
    (trial,) = optuna_trials()
    assert trial.params == {"loss.factor": 0.05, "optimizer.learning_rate": 0.001}


def test_a_trial_that_cannot_be_built_fails_and_the_study_stops_after_too_many(bench_command: Bench) -> None:
    Path("bad.yaml").write_text(
        """\
extends: tiny.yaml
search: {batch.size: {int: [1000, 2000]}}
objective: {metric: validation/accuracy}
study: {trials: 2, failures_in_a_row: 2}
tracking: {enabled: false}
"""
    )
    result = bench_command("study", "bad.yaml")
    assert result.code == 1
    assert "2 trials in a row have failed, the last one: batch.size: " in result.err
    assert "the same command continues the study" in result.err


def test_equal_budgets_are_enforced(bench_command: Bench) -> None:
    Path("other.yaml").write_text("extends: my.yaml\ntrain: {epochs: 4}\n")
    result = bench_command("study", "my.yaml", "other.yaml", "--equal-budget")
    assert result.code == 2
    assert result.err.endswith("--equal-budget: the studies differ in images a trial: my 216, other 288\n")
    Path("third.yaml").write_text("extends: my.yaml\nsearch: {train.epochs: {int: [1, 3]}}\n")
    result = bench_command("study", "my.yaml", "third.yaml", "--equal-budget")
    assert result.err.endswith(
        "--equal-budget: third searches train.epochs (third.yaml:2), which changes the images a trial; "
        "leave it out\n"
    )


def test_studies_of_equal_budget_end_in_a_comparison_of_the_winners(bench_command: Bench) -> None:
    Path("other.yaml").write_text(
        """\
extends: tiny.yaml
loss: {name: softmax}
search: {optimizer.learning_rate: {float: [1e-4, 1e-2], log: true}}
objective: {metric: validation/accuracy}
study: {trials: 1}
"""
    )
    arguments = ("study", "my.yaml", "other.yaml", "study.trials=1", "tracking.enabled=false")
    result = bench_command(*arguments, "--equal-budget", "--seeds", "2")
    assert result.code == 0, result.err
    assert "my: 1 trials of 216 images; winner: runs/studies/my/my-best.yaml" in result.out
    assert "mean ± standard deviation over seeds" in result.out
    assert len(list(Path("runs").glob("*-best-*-s[01]/record.json"))) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("best", "nothing"), "runs/studies/nothing/journal.log: no such study"),
        (("my.yaml", "my.yaml"), "two of the studies are called 'my'; a study is known by its name"),
        (("my.yaml", "--storage", "sqlite:///x.db"),
         "--storage sqlite:///x.db: must be postgresql+psycopg://user:password@host:port/database; without "
         "--storage a study is kept in a file, for one machine"),
        (("my.yaml", "--launcher", "ray"),
         "--launcher ray: needs --storage postgresql+psycopg://user:password@host:port/database, which all "
         "nodes reach; a journal is for one machine"),
        (("my.yaml", "study.gpus_per_trial=0.5"),
         "study.gpus_per_trial: is for --launcher ray; on this machine a trial takes one GPU, or its share "
         "of the CPUs: leave it out"),
        (("my.yaml", "--launcher", "ray", "--storage", "postgresql://db/x", "study.gpus_per_trial=4"),
         "batch: 18 images do not divide among 4 processes; choose a multiple of 4"),
        (("my.yaml", "train.max_steps=3", "pruner.name=median"),
         "pruner.name: median would never act: 3 steps have one evaluation, the last; lower "
         "evaluate.every_epochs, or use none"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(bench_command: Bench, arguments: tuple[str, ...], message: str) -> None:
    result = bench_command("study", *arguments)
    assert result.code == 2
    assert result.err == f"{message}\n"
