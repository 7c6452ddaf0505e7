"""A study's file: what it means, and every mistake at its line before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ConfigError
from bench.study.config import differences, load_study, parse_study
from bench.study.space import Categorical, Float, Int

pytestmark = pytest.mark.usefixtures("tiny_study")

Bench = Callable[..., Any]
OBJECTIVE = "objective: {metric: validation/accuracy}"


def problems(text: str, *overrides: str) -> list[str]:
    Path("bad.yaml").write_text(f"extends: tiny.yaml\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_study("bad.yaml", overrides)
    return list(caught.value.problems)


def test_a_study_is_a_run_and_what_to_vary_of_it() -> None:
    Path("space.yaml").write_text(
        f"""\
extends: tiny.yaml
search:
  batch.size: {{int: [6, 18], step: 6}}
  loss.name: {{categorical: [center, triplet]}}
  loss.factor: {{float: [0.001, 0.1], log: true, when: {{loss.name: center}}}}
  loss.alpha: {{float: [0.1, 0.5], step: 0.2, when: {{loss.name: triplet}}}}
{OBJECTIVE}
"""
    )
    study = load_study("space.yaml")
    assert study.name == "space"
    assert [entry.domain for entry in study.space] == [
        Int(6, 18, step=6),
        Categorical(("center", "triplet")),
        Float(0.001, 0.1, log=True),
        Float(0.1, 0.5, step=0.2),
    ]
    run = study.run_config({"batch.size": 12, "loss.name": "triplet", "loss.alpha": 0.3})
    assert run.batch.options["size"] == 12
    assert run.loss.name == "triplet"
    assert run.loss.options["alpha"] == 0.3
    assert run.optimizer == study.base.optimizer


def test_a_study_written_down_is_read_back_as_the_same() -> None:
    study = load_study("my.yaml", ["pruner.name=asha", "sampler.name=random", "study.seed=3"])
    again = parse_study(study.to_yaml(), "my.yaml")
    assert again.definition() == study.definition()
    assert again.base.hash == study.base.hash
    assert again.settings == study.settings


def test_unknown_paths_and_both_ends_of_every_range_are_checked_at_their_line() -> None:
    assert problems(
        f"""\
search:
  loss.fator: {{float: [0.001, 0.1]}}
  optimizer.learning_rate: {{float: [0.0, 0.1]}}
  loss.alfa: {{float: [0.5, 1.5]}}
  train.epochs: {{int: [-1, 3]}}
  optimizer.name: {{categorical: [adamw, adam_w]}}
{OBJECTIVE}"""
    ) == [
        "bad.yaml:3: loss.fator: unknown key; did you mean 'factor'?",
        "bad.yaml:4: optimizer.learning_rate: must be > 0, got 0.0",
        "bad.yaml:6: train.epochs: must be > 0, got -1",
        "bad.yaml:5: loss.alfa: must be >= 0 and <= 1, got 1.5",
        "bad.yaml:7: optimizer.name: unknown optimizer 'adam_w'; did you mean 'adamw'?",
    ]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("loss.factor: 0.1", "must be a range, such as {float: [0.05, 1.0]}, {int: [8, 64]} or "
         "{categorical: [a, b]}, got 0.1"),
        ("loss.factor: {flotat: [0, 1]}", "unknown key; did you mean 'float'?"),
        ("loss.factor: {float: [0.1]}", "must be [low, high], two finite numbers, got [0.1]"),
        ("loss.factor: {float: [0.2, 0.1]}", "low must be below high, got [0.2, 0.1]"),
        ("loss.factor: {float: [0, 1], log: true}",
         "low must be > 0 to be searched in the logarithm, got 0"),
        ("loss.factor: {float: [0.1, 1], log: true, step: 0.1}",
         "cannot stand beside log: true; leave one of them out"),
        ("train.epochs: {int: [1.5, 3]}", "must be [low, high], two whole numbers, got [1.5, 3]"),
        ("loss.name: {categorical: [center]}", "must be a list of at least two values, got [center]"),
        ("loss.name: {categorical: [center, center]}", "must list each value once, got [center, center]"),
        ("loss.name: {categorical: [center, softmax], log: true}",
         "means nothing to categorical values; leave it out"),
        ("loss.factor: {float: [0.1, 1], int: [1, 2]}",
         "must have one of float, int, categorical; got float and int"),
        ("loss.factor: {float: [0.1, 1], when: {loss.nme: center}}",
         "'loss.nme' is not searched, so it cannot be a condition"),
        ("seed: {int: [0, 9]}", "cannot be searched: seed is luck, which a search must not tune; compare "
         "the winner over several seeds instead"),
        ("data.seed: {int: [0, 9]}", "cannot be searched: data decides what is learnt and measured, which "
         "has to be the same for all trials"),
    ],
)  # fmt: skip
def test_a_range_that_is_none_is_refused(entry: str, message: str) -> None:
    found = problems(f"search:\n  {entry}\n{OBJECTIVE}")
    assert any(line.startswith("bad.yaml:3: search.") and line.endswith(message) for line in found), found


SEARCH = "search: {loss.factor: {float: [0.001, 0.1]}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OBJECTIVE, "bad.yaml:1: search: missing; a study says what it searches: "
         "'search: {loss.alpha: {float: [0.05, 1.0]}}'"),
        (SEARCH, "bad.yaml:1: objective: missing; add 'objective: {metric: validation/accuracy}', or what "
         "else decides"),
        (f"{SEARCH}\nobjective: {{metric: rendered/accuracy}}",
         "bad.yaml:3: objective.metric: must be one of validation/*, got 'rendered/accuracy': the test is "
         "read once, at the end, and steers nothing; did you mean 'validation/accuracy'?"),
        (f"{SEARCH}\nobjective: {{metric: validation/accuracyy}}",
         "bad.yaml:3: objective.metric: no run logs 'validation/accuracyy'; did you mean "
         "'validation/accuracy'?"),
        (f"{SEARCH}\nobjective: {{metric: validation/eer, direction: maximize}}",
         "bad.yaml:3: objective.direction: must be minimize: of validation/eer that is better"),
        (f"{SEARCH}\n{OBJECTIVE}\nsampler: {{name: grid}}",
         "bad.yaml:2: search.loss.factor: needs a step, because sampler grid tries every value"),
        (f"{SEARCH}\n{OBJECTIVE}\nsampler: {{name: tpee}}",
         "bad.yaml:4: sampler.name: unknown sampler 'tpee'; did you mean 'tpe'?"),
        (f"{SEARCH}\n{OBJECTIVE}\npruner: {{name: median, startup: 2}}",
         "bad.yaml:4: pruner.startup: unknown key; did you mean 'startup_trials'?"),
        (f"{SEARCH}\n{OBJECTIVE}\npruner: {{name: median}}\nevaluate: {{every_epochs: 3}}",
         "bad.yaml:4: pruner.name: median would never act: the only evaluation is the last "
         "(evaluate.every_epochs 3, train.epochs 3); use none"),
        (f"{SEARCH}\nobjective: [{{metric: validation/auc}}, {{metric: validation/eer}}]\n"
         "pruner: {name: median}",
         "bad.yaml:4: pruner.name: median cannot judge by several objectives; use none"),
        (f"{SEARCH}\n{OBJECTIVE}\nstudy: {{trials: 0}}", "bad.yaml:4: study.trials: must be > 0, got 0"),
    ],
)  # fmt: skip
def test_what_a_study_cannot_be_is_said_at_its_line(text: str, message: str) -> None:
    assert problems(text) == [message]


def test_a_single_run_has_no_search(bench_command: Bench) -> None:
    result = bench_command("run", "my.yaml")
    assert result.code == 2
    assert (
        "my.yaml:2: search: belongs to a study, which 'bench study' runs; this is a single run" in result.err
    )


def test_check_knows_studies(bench_command: Bench) -> None:
    result = bench_command("check", "my.yaml", "studies/smoke")
    assert result.code == 0
    assert "my.yaml: valid study, 2 searched, 3 trials" in result.out
    assert "studies/smoke: valid study, 2 searched, 6 trials" in result.out


@pytest.mark.parametrize("name", ["softmax", "center", "triplet", "arcface", "smoke"])
def test_every_shipped_study_is_valid(name: str) -> None:
    assert load_study(f"studies/{name}").name == f"study-{name}"


def test_differences_are_told_one_by_one() -> None:
    one, other = load_study("my.yaml"), load_study("my.yaml", ["loss.alfa=0.5", "pruner.name=asha"])
    assert differences(one.definition(), other.definition()) == [
        "loss.alfa was 0.95, is 0.5",
        'pruner was {"name": "none"}, is {"min_evaluations": 1, "name": "asha", "reduction": 4}',
    ]
    assert differences(one.definition(), load_study("my.yaml", ["study.trials=9"]).definition()) == []
