"""Which trial is next, how many there are: without any training."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from bench.errors import UserError
from bench.study.config import load_study
from bench.study.ledger import Claim, Ledger, suggest
from bench.study.storage import quiet_optuna

Open = Callable[..., Ledger]


def states(ledger: Ledger) -> list[str]:
    return [trial.state.name for trial in ledger.study.trials]


def claimed(ledger: Ledger) -> Claim:
    claim = ledger.claim()
    assert claim is not None
    return claim


def test_exactly_n_trials_finish_and_failed_ones_are_replaced(open_ledger: Open) -> None:
    ledger = open_ledger("study.trials=3", "pruner.name=median")
    first, second, third = (claimed(ledger) for _ in range(3))
    assert ledger.claim() is None  # finished + running: more could end as N + 1
    ledger.fail(second, "no memory")
    fourth = claimed(ledger)
    assert ledger.claim() is None
    assert ledger.complete(first, {"validation/accuracy": 0.9}) is None
    ledger.prune(third)
    assert ledger.complete(fourth, {"validation/accuracy": 0.8}) is None
    assert ledger.claim() is None
    assert states(ledger) == ["COMPLETE", "FAIL", "PRUNED", "COMPLETE"]
    assert ledger.counts().finished == 3
    assert [best.number for best in ledger.best()] == [0]


def test_an_undefined_figure_is_a_failed_trial(open_ledger: Open) -> None:
    ledger = open_ledger()
    reason = ledger.complete(claimed(ledger), {"validation/accuracy": math.nan})
    assert reason == "validation/accuracy is undefined (nan) at the end"
    assert ledger.study.trials[0].user_attrs["error"] == reason
    assert states(ledger) == ["FAIL"]


def test_a_trial_that_was_interrupted_goes_on_under_its_number_with_its_values(open_ledger: Open) -> None:
    ledger = open_ledger()
    first, second = claimed(ledger), claimed(ledger)
    ledger.requeue(first, counts_as_start=False)
    assert states(ledger) == ["WAITING", "RUNNING"]
    assert claimed(ledger) == first
    assert ledger.complete(second, {"validation/accuracy": 0.5}) is None


def test_trials_of_a_process_that_is_gone_are_taken_back_with_their_values(open_ledger: Open) -> None:
    open_ledger()
    kill = (
        "import os; from pathlib import Path; from bench.study.config import load_study;"
        "from bench.study.ledger import Ledger; from bench.study.storage import open_place\n"
        "with open_place(None, Path('runs/studies/other'), print) as place:\n"
        "    ledger = Ledger(place, load_study('my.yaml', ['name=other']))\n"
        "    print(ledger.claim().values, ledger.claim().values, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    died = subprocess.run([sys.executable, "-c", kill], capture_output=True, text=True, check=False)
    assert died.returncode == -9, died.stderr
    from bench.study.storage import open_place

    with open_place(None, Path("runs/studies/other"), print) as place:
        ledger = Ledger(place, load_study("my.yaml", ["name=other"]))
        assert states(ledger) == ["RUNNING", "RUNNING"]
        again = [claimed(ledger) for _ in range(2)]
        assert f"{again[0].values} {again[1].values}\n" == died.stdout
        assert [claim.number for claim in again] == [0, 1]


def test_a_trial_that_kills_its_process_again_and_again_has_failed(open_ledger: Open) -> None:
    ledger = open_ledger("study.attempts=2")
    claim = claimed(ledger)
    assert ledger.may_try_again(claim)
    ledger.requeue(claim, counts_as_start=True)
    assert not ledger.may_try_again(claimed(ledger))


def test_a_study_that_was_killed_asks_as_one_that_was_not(open_ledger: Open) -> None:
    def values(*overrides: str, reopen: bool) -> list[dict[str, object]]:
        ledger = open_ledger("study.trials=12", *overrides)
        found: list[dict[str, object]] = []
        for step in range(6):
            if reopen:
                ledger = open_ledger("study.trials=12", *overrides)
            claim = claimed(ledger)
            found.append({**claim.values})
            ledger.complete(claim, {"validation/accuracy": 0.5 + 0.01 * step})
        return found

    for sampler in ("random", "tpe", "qmc", "cmaes"):
        options = (f"sampler={{name: {sampler}}}",)
        if sampler == "tpe":
            options = ("sampler={name: tpe, startup_trials: 2}",)
        whole = values(*options, f"name={sampler}-whole", reopen=False)
        Path("runs/studies/my").rename(f"{sampler}-whole")
        killed = values(*options, f"name={sampler}-whole", reopen=True)
        Path("runs/studies/my").rename(f"{sampler}-killed")
        assert whole == killed, sampler
        assert len({json.dumps(point, sort_keys=True) for point in whole}) == 6, sampler


def test_a_grid_is_every_combination_once(open_ledger: Open) -> None:
    Path("my.yaml").write_text(
        """\
extends: tiny.yaml
search:
  train.epochs: {int: [1, 3]}
  loss.name: {categorical: [center, softmax]}
  loss.factor: {categorical: [0.1, 0.2], when: {loss.name: center}}
objective: {metric: validation/accuracy}
sampler: {name: grid}
study: {trials: 50}
"""
    )
    ledger = open_ledger()
    seen = []
    while (claim := ledger.claim()) is not None:
        seen.append({**claim.values})
        ledger.complete(claim, {"validation/accuracy": 0.5})
    expected = load_study("my.yaml").space.grid()
    assert len(expected) == 3 * (2 + 1)
    assert sorted(map(str, seen)) == sorted(map(str, expected))


def test_the_pruner_hears_evaluations_not_steps(open_ledger: Open) -> None:
    ledger = open_ledger("study.trials=9", "pruner={name: median, startup_trials: 1}")
    good, poor = claimed(ledger), claimed(ledger)
    for step in (40, 80):
        assert ledger.report(good, step, {"validation/accuracy": 0.9}) is None
    ledger.complete(good, {"validation/accuracy": 0.9})
    reason = ledger.report(poor, 40, {"validation/accuracy": 0.4})
    assert reason == "pruned by median after step 40: validation/accuracy is 0.4"
    ledger.prune(poor)
    assert ledger.study.trials[0].intermediate_values == {1: 0.9, 2: 0.9}
    assert ledger.study.trials[1].state.name == "PRUNED"


def test_an_evaluation_that_a_resumed_trial_repeats_counts_once(open_ledger: Open) -> None:
    ledger = open_ledger()
    claim = claimed(ledger)
    ledger.report(claim, 40, {"validation/accuracy": 0.5})
    ledger.requeue(claim, counts_as_start=False)
    claim = claimed(ledger)
    ledger.report(claim, 40, {"validation/accuracy": 0.5})
    ledger.report(claim, 80, {"validation/accuracy": 0.6})
    assert ledger.study.trials[0].intermediate_values == {1: 0.5, 2: 0.6}


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "qmc", "random", "nsgaii", "gp"])
@pytest.mark.parametrize("pruner", ["none", "median", "asha", "hyperband"])
def test_every_sampler_and_pruner_works_with_ask_and_tell(
    open_ledger: Open, sampler: str, pruner: str
) -> None:
    startup = ", startup_trials: 2" if sampler in ("tpe", "gp") else ""
    ledger = open_ledger(
        f"sampler={{name: {sampler}{startup}}}", f"pruner={{name: {pruner}}}", "study.trials=5"
    )
    while (claim := ledger.claim()) is not None:
        reasons = [ledger.report(claim, step, {"validation/accuracy": 0.1 * claim.number}) for step in (4, 8)]
        if any(reasons):
            ledger.prune(claim)
        else:
            ledger.complete(claim, {"validation/accuracy": 0.1 * claim.number})
    assert ledger.counts().finished == 5


def test_several_objectives_give_a_pareto_front(open_ledger: Open) -> None:
    objectives = "objective=[{metric: validation/accuracy}, {metric: validation/eer}]"
    ledger = open_ledger(objectives, "sampler.name=nsgaii")
    for accuracy, eer in ((0.9, 0.2), (0.8, 0.1), (0.7, 0.3)):
        claim = claimed(ledger)
        ledger.complete(claim, {"validation/accuracy": accuracy, "validation/eer": eer})
    assert [best.number for best in ledger.best()] == [0, 1]


def test_enqueued_settings_come_first_and_once(open_ledger: Open) -> None:
    ledger = open_ledger()
    values = {"loss.factor": 0.05, "optimizer.learning_rate": 0.002}
    assert ledger.enqueue(values, "guess.yaml")
    assert not ledger.enqueue(values, "guess.yaml")
    assert claimed(ledger).values == values
    with pytest.raises(UserError) as caught:
        ledger.enqueue({**values, "loss.factor": 0.5}, "guess.yaml")
    assert str(caught.value) == (
        "--enqueue guess.yaml: loss.factor: 0.5 is outside the search: float 0.001 to 0.1, log"
    )


def test_a_study_of_that_name_with_another_space_is_refused_with_the_difference(open_ledger: Open) -> None:
    open_ledger()
    with pytest.raises(UserError) as caught:
        open_ledger("loss.alfa=0.5")
    assert str(caught.value) == (
        "runs/studies/my/journal.log: study 'my' exists and is another one: loss.alfa was 0.95, is 0.5; "
        "set another name=..., or move its folder away"
    )


def test_an_objective_of_ones_own_may_ask_for_the_values(tiny_study: Path) -> None:
    config = load_study("my.yaml")
    seen = []

    def objective(trial: optuna.Trial) -> float:
        run = config.run_config(suggest(trial, config.space))
        seen.append(run.loss.options["factor"])
        return float(run.loss.options["factor"])

    quiet_optuna()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=4)
    assert [trial.params["loss.factor"] for trial in study.trials] == seen
    assert all(0.001 <= factor <= 0.1 for factor in seen)


def test_a_trial_that_somebody_took_over_is_not_told_twice(open_ledger: Open) -> None:
    ledger = open_ledger()
    claim = claimed(ledger)
    trial = ledger.study.trials[0]
    ledger.place.storage.set_trial_user_attr(
        trial._trial_id, "owner", {"host": "elsewhere", "pid": os.getpid(), "process_start": 1, "starts": 2}
    )
    assert ledger.complete(claim, {"validation/accuracy": 0.9}) is None
    assert states(ledger) == ["RUNNING"]
