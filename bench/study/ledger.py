"""The trials of a study: which one is next, how each ended, how many there are.

N is kept by one rule, under the storage's guard: a trial begins only while finished + running < N. One that
was interrupted (Ctrl-C, a dead process, a dead machine) waits under its own number and goes on from its
checkpoint, so nothing is lost or doubled.
"""

from __future__ import annotations

import json
import math
import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.yaml_file import Scalar
from bench.errors import UserError, did_you_mean
from bench.results.folder import process_start
from bench.study.config import Objective, StudyConfig, differences, parse_study
from bench.study.pruners import PRUNERS
from bench.study.samplers import SAMPLERS, seed_of
from bench.study.space import Categorical, Domain, Int, Space
from bench.study.storage import Place, is_alive

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

_CONFIG = "bench:config"
_DEFINITION = "bench:definition"
_HOME = "bench:home"
_RUN_ID = "mlflow_run_id"
_OWNER = "owner"
_STEPS = "evaluated_steps"


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial that this process works on.

    Args:
        number: of the trial.
        values: what it tries.
    """

    number: int
    values: dict[str, Scalar]


@dataclass(frozen=True, slots=True)
class Counts:
    """How a study stands."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int

    @property
    def finished(self) -> int:
        """What counts towards N."""
        return self.complete + self.pruned


@dataclass(frozen=True, slots=True)
class Best:
    """A trial that no other one beats."""

    number: int
    values: tuple[float, ...]
    chosen: dict[str, Scalar]


class Ledger:
    """A study in its storage.

    Args:
        place: the storage.
        config: what was asked; opened or begun under its name.
        still_runs: whether the process of a trial that nobody owns any more is still ending on this machine.

    Raises:
        UserError: a study of that name exists and is another one; says what differs.
    """

    def __init__(
        self,
        place: Place,
        config: StudyConfig,
        *,
        still_runs: Callable[[int], bool] = lambda number: False,
    ) -> None:
        import optuna

        self.place = place
        self.config = config
        self._still_runs = still_runs
        self._trials: dict[int, Trial] = {}
        # built once: Hyperband remembers its brackets
        self._pruner = PRUNERS.build(config.pruner.name, {}, config.pruner.options)
        with place.guard():
            names = optuna.get_all_study_names(place.storage)
            if config.name in names:
                self._refuse_another(place)
            self.study: Study = optuna.create_study(
                storage=place.storage,
                study_name=config.name,
                directions=[objective.direction for objective in config.objectives],
                pruner=self._pruner,
                sampler=optuna.samplers.RandomSampler(seed=0),
                load_if_exists=True,
            )
            attributes = self.study.user_attrs
            if _DEFINITION not in attributes:
                # the points of a grid first: a study whose definition is there is whole
                self._enqueue_grid()
                self.study.set_metric_names([objective.metric for objective in config.objectives])
                self.study.set_user_attr(_CONFIG, config.to_yaml())
                self.study.set_user_attr(_DEFINITION, json.dumps(config.definition()))

    def claim(self) -> Claim | None:
        """The next trial to work on; None while as many as are wanted are finished or running."""
        with self.place.guard():
            self._take_back()
            trials = self.study.get_trials(deepcopy=False)
            counts = count(trials)
            waiting = [trial.number for trial in trials if trial.state.name == "WAITING"]
            if counts.finished + counts.running >= self.config.settings.trials:
                return None
            if not waiting and self.config.sampler.name == "grid":
                return None
            number = min(waiting, default=len(trials))
            self.study.sampler = self._sampler(number)
            trial = self.study.ask()
            starts = int(trial.user_attrs.get(_OWNER, {}).get("starts", 0)) + 1
            trial.set_user_attr(_OWNER, {**_this_process(), "starts": starts})
        if self.place.is_shared:
            _heartbeat(self.place, trial._trial_id)
        values = suggest(trial, self.config.space)
        self._trials[trial.number] = trial
        return Claim(trial.number, values)

    def report(self, claim: Claim, step: int, metrics: Mapping[str, float]) -> str | None:
        """Note the figures after an evaluation.

        Returns:
            Why the trial is to end; None: it goes on.
        """
        if len(self.config.objectives) > 1:
            return None  # Optuna has no intermediate values of several objectives
        trial = self._trials[claim.number]
        steps = [*trial.user_attrs.get(_STEPS, [])]
        if step not in steps:
            steps.append(step)
            trial.set_user_attr(_STEPS, steps)
        evaluation = steps.index(step) + 1
        objective = self.config.objectives[0]
        value = metrics[objective.metric]
        if math.isnan(value):
            return None
        if evaluation not in self._frozen(claim.number).intermediate_values:
            trial.report(value, evaluation)
        self.study.pruner = self._pruner
        if not trial.should_prune():
            return None
        return f"pruned by {self.config.pruner.name} after step {step}: {objective.metric} is {value:.4g}"

    def complete(self, claim: Claim, validation: Mapping[str, float]) -> str | None:
        """The trial has ended well.

        Returns:
            Why it has failed all the same; None: it has not.
        """
        values = [validation.get(objective.metric, math.nan) for objective in self.config.objectives]
        for objective, value in zip(self.config.objectives, values, strict=True):
            if math.isnan(value):
                reason = f"{objective.metric} is undefined (nan) at the end"
                self.fail(claim, reason)
                return reason
        self._tell(claim, values, "COMPLETE")
        return None

    def prune(self, claim: Claim) -> None:
        """The trial has ended because `report` said so."""
        self._tell(claim, None, "PRUNED")

    def fail(self, claim: Claim, reason: str) -> None:
        """The trial has failed; another one will take its place."""
        if self._is_ours(claim):
            self._trials[claim.number].set_user_attr("error", reason)
        self._tell(claim, None, "FAIL")

    def may_try_again(self, claim: Claim) -> bool:
        """Whether a trial whose process died has attempts left."""
        owner = self._frozen(claim.number).user_attrs[_OWNER]
        return int(owner["starts"]) < self.config.settings.attempts

    def requeue(self, claim: Claim, *, counts_as_start: bool) -> None:
        """The trial waits, under its number and with its values, for whoever claims it next."""
        if not self._is_ours(claim):
            return
        trial = self._trials.pop(claim.number)
        starts = int(trial.user_attrs[_OWNER]["starts"]) - (0 if counts_as_start else 1)
        trial.set_user_attr(_OWNER, {"starts": starts})
        self._set_waiting(trial._trial_id)

    def sign_of_life(self) -> None:
        """Tell other machines that this one works on its trials."""
        if self.place.is_shared:
            for trial in self._trials.values():
                _heartbeat(self.place, trial._trial_id)

    def enqueue(self, chosen: Mapping[str, Scalar], source: str) -> bool:
        """Have these values tried next.

        Returns:
            False when they were tried, or wait, already.

        Raises:
            UserError: values outside the space.
        """
        values: dict[str, Scalar] = {}
        for entry in self.config.space:
            if not entry.is_active(values):
                continue
            if entry.path not in chosen:
                raise UserError(f"--enqueue {source}: lacks {entry.path}, which the study searches")
            value = chosen[entry.path]
            if not _contains(entry.domain, value):
                raise UserError(
                    f"--enqueue {source}: {entry.path}: {value!r} is outside the search: {entry.domain}"
                )
            values[entry.path] = value
        known = [trial.system_attrs.get("fixed_params", trial.params) for trial in self.study.trials]
        if values in known:
            return False
        self.study.enqueue_trial(values, user_attrs={"enqueued": source})
        return True

    def counts(self) -> Counts:
        """How the study stands now."""
        return count(self.study.get_trials(deepcopy=False))

    def best(self) -> list[Best]:
        """The best complete trial, or the Pareto front; empty before any is complete."""
        return best_trials(self.study)

    def state_of(self, number: int) -> str:
        """Optuna's word for a trial: COMPLETE, PRUNED, FAIL, RUNNING, WAITING."""
        return str(self._frozen(number).state.name)

    def is_home(self, folder: Path) -> bool:
        """Whether the study's own run and report are kept here: where it was begun."""
        mine = f"{socket.gethostname()}:{folder.absolute()}"
        with self.place.guard():
            home = self.study.user_attrs.get(_HOME)
            if home is None:
                self.study.set_user_attr(_HOME, mine)
        return home in (None, mine)

    def link_study(self, run_id: str) -> None:
        """Note which MLflow run the study is, for workers elsewhere."""
        self.study.set_user_attr(_RUN_ID, run_id)

    def run_id(self) -> str | None:
        """MLflow's id of the study, once it is known."""
        return self.study.user_attrs.get(_RUN_ID)

    def link(self, number: int, run_id: str) -> None:
        """Note which MLflow run a trial is. On the study, because a finished trial takes no more notes."""
        self.study.set_user_attr(f"mlflow_run_id:{number}", run_id)

    def _refuse_another(self, place: Place) -> None:
        import optuna

        study = optuna.load_study(study_name=self.config.name, storage=place.storage)
        known = study.user_attrs.get(_DEFINITION)
        if known is None:
            if not study.get_trials(deepcopy=False) or self.config.sampler.name == "grid":
                return  # a kill came between its first line and its definition
            raise UserError(
                f"{place.shown}: holds a study '{self.config.name}' that 'bench study' did not make; "
                "set another name=..."
            )
        found = differences(json.loads(known), self.config.definition())
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            raise UserError(
                f"{place.shown}: study '{self.config.name}' exists and is another one: "
                f"{'; '.join(found[:3])}{more}; set another name=..., or move its folder away"
            )

    def _enqueue_grid(self) -> None:
        if self.config.sampler.name != "grid":
            return
        points = self.config.space.grid()
        random.Random(self.config.settings.seed).shuffle(points)
        known = [trial.system_attrs.get("fixed_params") for trial in self.study.trials]
        for point in points:
            if point not in known:
                self.study.enqueue_trial(point)

    def _sampler(self, number: int) -> Any:
        name = self.config.sampler.name
        seed = seed_of(name, self.config.settings.seed, number)
        return SAMPLERS.build(name, {"seed": seed}, self.config.sampler.options)

    def _take_back(self) -> None:
        """Trials that say RUNNING, but whose process or machine is gone, wait again (or have failed)."""
        stale: Sequence[int] = ()
        if self.place.is_shared:
            stale = self.place.storage._get_stale_trial_ids(self.study._study_id)  # type: ignore[attr-defined]
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.name != "RUNNING" or trial.number in self._trials:
                continue
            owner = trial.user_attrs.get(_OWNER, {})
            if not (trial._trial_id in stale or self._is_gone(trial, owner)):
                continue
            if self._still_runs(trial.number):
                continue  # next time
            if int(owner.get("starts", 0)) < self.config.settings.attempts:
                self._set_waiting(trial._trial_id)
            else:
                storage = self.place.storage
                reason = f"its process died {owner['starts']} times"
                storage.set_trial_user_attr(trial._trial_id, "error", reason)
                self.study.tell(trial.number, state=_state("FAIL"), skip_if_finished=True)

    def _is_gone(self, trial: FrozenTrial, owner: Mapping[str, Any]) -> bool:
        if "pid" not in owner:
            # killed between the trial's first line and its owner's name; on a journal nobody else is at work
            return not self.place.is_shared or _is_old(trial, self.config.settings.heartbeat_s)
        if all(owner.get(key) == value for key, value in _this_process().items()):
            return True  # claimed by us, but the storage went away before we were told
        return owner["host"] == socket.gethostname() and not is_alive(owner["pid"], owner["process_start"])

    def _set_waiting(self, trial_id: int) -> None:
        self.place.storage.set_trial_state_values(trial_id, state=_state("WAITING"))

    def _is_ours(self, claim: Claim) -> bool:
        """Whether nobody has taken the trial over, taking us for dead."""
        frozen = self._frozen(claim.number)
        owner = frozen.user_attrs.get(_OWNER, {})
        mine = _this_process()
        return frozen.state.name == "RUNNING" and all(owner.get(key) == mine[key] for key in mine)

    def _tell(self, claim: Claim, values: Sequence[float] | None, state: str) -> None:
        if self._is_ours(claim):
            self.study.sampler = self._sampler(claim.number)
            self.study.pruner = self._pruner
            self.study.tell(self._trials[claim.number], values, state=_state(state), skip_if_finished=True)
        self._trials.pop(claim.number, None)

    def _frozen(self, number: int) -> FrozenTrial:
        trials = self.study.get_trials(deepcopy=False)
        return next(trial for trial in trials if trial.number == number)


def open_existing(place: Place, name: str) -> StudyConfig:
    """The configuration of a study that is in a storage.

    Raises:
        UserError: there is none of that name.
    """
    import optuna

    names = optuna.get_all_study_names(place.storage)
    if name not in names:
        hint = did_you_mean(name, names)
        raise UserError(f"{place.shown}: holds no study '{name}'{hint}")
    study = optuna.load_study(study_name=name, storage=place.storage)
    text = study.user_attrs.get(_CONFIG)
    if text is None:
        raise UserError(f"{place.shown}: study '{name}' was not made by 'bench study'")
    return parse_study(text, f"{name} in {place.shown}")


def suggest(trial: Trial, space: Space) -> dict[str, Scalar]:
    """Ask a trial for values of a search space; also for objectives of your own.

    Args:
        trial: Optuna's.
        space: of a study, `load_study(...).space`.

    Returns:
        Dotted path -> value, of the entries whose conditions hold: what `StudyConfig.run_config` takes.
    """
    values: dict[str, Scalar] = {}
    for entry in space:
        if entry.is_active(values):
            values[entry.path] = trial._suggest(entry.path, _distribution(entry.domain))
    return values


def count(trials: Sequence[FrozenTrial]) -> Counts:
    """Trials by state."""
    states = [trial.state.name for trial in trials]
    return Counts(*(states.count(name) for name in ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING")))


def best_trials(study: Study) -> list[Best]:
    """The best complete trial, or the Pareto front by number; empty before any is complete."""
    if not count(study.get_trials(deepcopy=False)).complete:
        return []
    trials = study.best_trials if len(study.directions) > 1 else [study.best_trial]
    return [Best(trial.number, tuple(trial.values), dict(trial.params)) for trial in trials]


def objective_values(objectives: Sequence[Objective], values: Sequence[float]) -> str:
    """`validation/accuracy 0.9312`, for people."""
    return ", ".join(
        f"{objective.metric} {value:.4f}" for objective, value in zip(objectives, values, strict=True)
    )


def _distribution(domain: Domain) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Categorical):
        return CategoricalDistribution(domain.choices)
    if isinstance(domain, Int):
        return IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def _contains(domain: Domain, value: Scalar) -> bool:
    distribution = _distribution(domain)
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "process_start": process_start(pid)}


def _heartbeat(place: Place, trial_id: int) -> None:
    place.storage.record_heartbeat(trial_id)  # type: ignore[attr-defined]


def _is_old(trial: FrozenTrial, heartbeat_s: float) -> bool:
    begun = trial.datetime_start
    return begun is None or datetime.now() - begun > timedelta(seconds=4 * heartbeat_s)
