"""A study as it was asked for: a run, what to search, by which figure, how. Checked before it starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from bench.config import RunConfig
from bench.config.check import Checker, check, field_types
from bench.config.components import COMPONENTS
from bench.config.layers import COMMAND_LINE, override, read_layers, with_values
from bench.config.load import name_of
from bench.config.rules import listed, shown_value
from bench.config.run_config import Component
from bench.config.sections import STUDY_SECTIONS, Section
from bench.config.shipped import find_config
from bench.config.yaml_file import DataPath, Key, Node, Origin, Plain, child, node_at, parse_yaml, plain
from bench.config.yaml_text import yaml_document
from bench.errors import ConfigError, did_you_mean
from bench.study.pruners import PRUNERS
from bench.study.samplers import NO_CONDITIONS, ONE_OBJECTIVE_ONLY, SAMPLERS
from bench.study.space import Categorical, Space, Values, read_space
from bench.verification import far_key
from losses.registry import Registry

Direction = Literal["maximize", "minimize"]

_REGISTRIES: dict[str, Registry[Any]] = {"sampler": SAMPLERS, "pruner": PRUNERS}
_DEFAULT = Origin("default")
_DEFAULTS: dict[Key, Node] = {
    "sampler": Node({"name": Node("tpe", _DEFAULT)}, _DEFAULT),
    "pruner": Node({"name": Node("none", _DEFAULT)}, _DEFAULT),
    "study": Node({}, _DEFAULT),
}


class StudySection(Section):
    """How many trials, and how patient: not part of what a study is, so it may change on the way."""

    trials: PositiveInt = 20
    """Finished trials, complete or pruned; failed ones are replaced."""

    seed: NonNegativeInt = 0
    """Of the sampler; the runs' own is 'seed'."""

    trial_timeout_s: PositiveFloat | None = None
    """Seconds after which a trial has failed; null: none."""

    attempts: PositiveInt = 3
    """Starts of a trial whose process dies, each from its last checkpoint, before it has failed."""

    failures_in_a_row: PositiveInt = 10
    """So many failed trials without a finished one between them end the study."""

    heartbeat_s: Annotated[float, Field(ge=1.0)] = 15.0
    """Several machines: seconds between two signs of life. Four of them missed, a trial is taken over."""

    gpus_per_trial: NonNegativeFloat | None = None
    """With --launcher ray: a fraction shares a GPU, several train together; null: 1 if there are any."""

    cpus_per_trial: PositiveInt | None = None
    """With --launcher ray: CPUs of a trial, and its threads; null: its share beside a GPU, else 1."""

    @field_validator("gpus_per_trial")
    @classmethod
    def _is_a_fraction_or_whole(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and not gpus.is_integer():
            raise ValueError("must be a fraction of one GPU, or a whole number of them")
        return gpus

    @property
    def processes_per_trial(self) -> int:
        """That train one trial together: one a GPU."""
        return max(1, int(self.gpus_per_trial or 0))


class ObjectiveSection(Section):
    """One figure to search by."""

    metric: str
    """Such as validation/val_at_far_1e-3."""

    direction: Direction | None = None
    """maximize or minimize; null: the one that is better."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A figure and which way is better."""

    metric: str
    direction: Direction

    def __str__(self) -> str:
        return f"{self.direction} {self.metric}"


@dataclass(frozen=True)
class StudyConfig:
    """A study. `load_study` makes it.

    Args:
        base: the run that each trial varies; its name is the study's.
        space: what is searched.
        objectives: by which figures; several give a Pareto front.
        sampler: chooses the values.
        pruner: ends what will not win.
        settings: number of trials and patience.
    """

    base: RunConfig
    space: Space
    objectives: tuple[Objective, ...]
    sampler: Component
    pruner: Component
    settings: StudySection
    _tree: Node = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Of the study."""
        return self.base.name

    def run_config(
        self, chosen: Values, label: str = "trial", *, name: str | None = None, runs: str | None = None
    ) -> RunConfig:
        """The run with these values.

        Args:
            chosen: dotted path -> value, as `suggest` gives them.
            label: for messages.
            name: of the run, in place of the study's.
            runs: folder of its run folder, in place of runtime.runs.

        Raises:
            ConfigError: values that do not go together.
        """
        origin = Origin(label)
        values: dict[DataPath, Node] = {
            self.space[path].data_path: Node(value, origin) for path, value in chosen.items()
        }
        if name is not None:
            values["name",] = Node(name, origin)
        if runs is not None:
            values["runtime", "runs"] = Node(runs, origin)
        return check(with_values(self._tree, values), self.name, COMPONENTS)

    def chosen_by(self, config: RunConfig) -> dict[str, Plain]:
        """What a configuration has at the paths that are searched; paths that it lacks are left out."""
        tree = as_node(_section(config.tree()))
        found: dict[str, Plain] = {}
        for entry in self.space:
            node = node_at(tree, entry.data_path)
            if node is not None:
                found[entry.path] = plain(node)
        return found

    def definition(self) -> dict[str, str]:
        """What makes it this study and no other, as lines that can be compared: path -> text."""
        base = {
            path: json.dumps(value)
            for path, value in self.base.flat().items()
            if path.partition(".")[0] not in ("name", "description", "runtime", "tracking", "plugins")
        }
        base |= {f"plugins.{i}": plugin.digest for i, plugin in enumerate(self.base.plugins)}
        return {
            **base,
            **{f"search.{entry.path}": str(entry) for entry in self.space},
            "objective": "; ".join(map(str, self.objectives)),
            "sampler": json.dumps(self.sampler.tree(), sort_keys=True),
            "pruner": json.dumps(self.pruner.tree(), sort_keys=True),
        }

    def to_yaml(self) -> str:
        """A file that loads to the same study."""
        search: dict[Key, Plain] = {}
        for entry in self.space:
            domain = entry.domain
            value: dict[Key, Plain]
            if isinstance(domain, Categorical):
                value = {"categorical": domain.choices}
            else:
                kind = "float" if isinstance(domain.low, float) else "int"
                value = {kind: (domain.low, domain.high)}
                if domain.log:
                    value["log"] = True
                if domain.step is not None and not domain.log:
                    value["step"] = domain.step
            if entry.when:
                value["when"] = _section(entry.when)
            search[entry.path] = value
        objectives: tuple[Plain, ...] = tuple(
            {"metric": objective.metric, "direction": objective.direction} for objective in self.objectives
        )
        document: dict[str, Plain] = {
            **self.base.tree(),
            "search": search,
            "objective": objectives,
            "sampler": _section(self.sampler.tree()),
            "pruner": _section(self.pruner.tree()),
            "study": _section(self.settings.model_dump()),
        }
        return yaml_document(document)


def is_study(source: str | Path) -> bool:
    """Whether a configuration, or what it extends, has a `search` section.

    Raises:
        UserError, ConfigError: it cannot be read.
    """
    return child(read_layers(find_config(source)), "search") is not None


def load_study(source: str | Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read, extend, override and check a study.

    Args:
        source: a YAML file, or the name of a shipped one (`studies/triplet`).
        overrides: `study.trials=40`, `loss.alpha=0.3`, ...; they win over the file.

    Raises:
        UserError: no such file, or unreadable.
        ConfigError: everything wrong with it, one line each.
    """
    path = find_config(source)
    return _check(override(read_layers(path), overrides), name_of(path))


def parse_study(text: str, origin: str) -> StudyConfig:
    """The study that `StudyConfig.to_yaml` wrote.

    Raises:
        ConfigError: everything wrong with it, one line each.
    """
    return _check(parse_yaml(text, origin), name_of(Path(origin)))


def _check(tree: Node, default_name: str) -> StudyConfig:
    assert isinstance(tree.value, Mapping)
    run_tree = Node({key: node for key, node in tree.value.items() if key not in STUDY_SECTIONS}, tree.origin)
    checker = Checker(Node({**_DEFAULTS, **tree.value}, tree.origin), {**COMPONENTS, **_REGISTRIES})
    base: RunConfig | None = None
    problems: list[str] = []
    try:
        base = check(run_tree, default_name, COMPONENTS)
    except ConfigError as error:
        problems += error.problems
    space = read_space(checker)
    sampler, pruner = checker.component("sampler"), checker.component("pruner")
    settings = checker.static("study", StudySection)
    objectives = _objectives(checker, base)
    if base and sampler and pruner and objectives and not checker.problems:
        _check_together(checker, base, space, sampler, pruner, objectives)
    try:
        checker.finish()
        if base is not None:
            _check_corners(run_tree, space, default_name)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    assert base is not None
    assert sampler is not None
    assert pruner is not None
    assert isinstance(settings, StudySection)
    return StudyConfig(base, space, objectives, sampler, pruner, settings, run_tree)


def _objectives(checker: Checker, base: RunConfig | None) -> tuple[Objective, ...]:
    node = child(checker.tree, "objective")
    if node is None:
        checker.report(
            ("objective",),
            "missing; add 'objective: {metric: validation/accuracy}', or what else decides",
            missing=True,
        )
        return ()
    listed_ones = node.value if isinstance(node.value, tuple) else None
    at: list[DataPath] = (
        [("objective",)] if listed_ones is None else [("objective", i) for i in range(len(listed_ones))]
    )
    found = [_objective(checker, path, base) for path in at]
    objectives = tuple(objective for objective in found if objective is not None)
    metrics = [objective.metric for objective in objectives]
    if not at or len(set(metrics)) < len(metrics):
        checker.report(("objective",), "must name each metric once, and at least one")
    return objectives


def _objective(checker: Checker, at: DataPath, base: RunConfig | None) -> Objective | None:
    node = node_at(checker.tree, at)
    assert node is not None
    given = plain(node)
    if not isinstance(given, dict):
        checker.report(at, f"must be {{metric: validation/...}}, got {shown_value(given)}")
        return None
    section = checker.validated(ObjectiveSection, given, at, field_types(ObjectiveSection), "objective")
    if not isinstance(section, ObjectiveSection) or base is None:
        return None
    known = _metrics(base)
    if section.metric not in known:
        checker.report((*at, "metric"), _unknown_metric(section.metric, known))
        return None
    better = known[section.metric]
    if section.direction not in (None, better):
        checker.report((*at, "direction"), f"must be {better}: of {section.metric} that is better")
        return None
    return Objective(section.metric, better)


def _metrics(base: RunConfig) -> dict[str, Direction]:
    """Figures of the validation that say how good a model is -> which way is better."""
    found: dict[str, Direction] = {"validation/accuracy": "maximize", "validation/auc": "maximize"}
    for far in map(far_key, base.evaluate.fars):
        found[f"validation/val_at_far_{far}"] = "maximize"
        found[f"validation/val_exact_at_far_{far}"] = "maximize"
    return {**found, "validation/eer": "minimize"}


def _unknown_metric(metric: str, known: Mapping[str, Direction]) -> str:
    if not metric.startswith("validation/"):
        hint = did_you_mean(f"validation/{metric.rpartition('/')[2]}"[:100], known)
        return (
            f"must be one of validation/*, got {shown_value(metric)}: the test is read once, at the end, "
            f"and steers nothing{hint}"
        )
    hint = did_you_mean(metric[:100], known) or f"; there are {listed(known)} (evaluate.fars names the FARs)"
    return f"no run logs {shown_value(metric)}{hint}"


def _check_together(
    checker: Checker,
    base: RunConfig,
    space: Space,
    sampler: Component,
    pruner: Component,
    objectives: tuple[Objective, ...],
) -> None:
    """What each section allows alone and not beside the others."""
    if pruner.name != "none" and len(objectives) > 1:
        checker.report(("pruner", "name"), f"{pruner.name} cannot judge by several objectives; use none")
    if pruner.name != "none" and base.evaluate.every_epochs >= base.train.epochs:
        checker.report(
            ("pruner", "name"),
            f"{pruner.name} would never act: the only evaluation is the last (evaluate.every_epochs "
            f"{base.evaluate.every_epochs:g}, train.epochs {base.train.epochs:g}); use none",
        )
    if sampler.name in ONE_OBJECTIVE_ONLY and len(objectives) > 1:
        checker.report(("sampler", "name"), f"{sampler.name} knows one objective; use nsgaii or tpe")
    for entry in space:
        at: DataPath = ("search", entry.path)
        if sampler.name in NO_CONDITIONS and entry.when:
            checker.report((*at, "when"), f"sampler {sampler.name} knows no conditions; use tpe or random")
        if sampler.name == "grid" and entry.domain.grid() is None:
            checker.report(at, "needs a step, because sampler grid tries every value")
    categorical = [entry.path for entry in space if isinstance(entry.domain, Categorical)]
    if sampler.name == "cmaes" and len(categorical) == len(space.paths):
        checker.report(("sampler", "name"), "cmaes searches numbers, and there are none; use tpe or grid")


def _check_corners(run_tree: Node, space: Space, default_name: str) -> None:
    """Both ends of every range against the schema.

    Raises:
        ConfigError: what does not pass, at the line of the search.
    """
    problems: list[str] = []
    for _, chosen in space.corners():
        values = {space[path].data_path: Node(value, space[path].origin) for path, value in chosen.items()}
        try:
            check(with_values(run_tree, values), default_name, COMPONENTS)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(dict.fromkeys(problems))


def _section(values: Mapping[str, Plain]) -> Plain:
    return {key: value for key, value in values.items()}  # noqa: C416 (dict() would keep the type of its keys)


def as_node(value: Plain, origin: Origin = COMMAND_LINE) -> Node:
    """A plain value as a tree."""
    if isinstance(value, dict):
        return Node({key: as_node(entry, origin) for key, entry in value.items()}, origin)
    if isinstance(value, tuple):
        return Node(tuple(as_node(entry, origin) for entry in value), origin)
    return Node(value, origin)


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What differs between two definitions: `loss.factor was 0.01, is 0.1`."""
    found = []
    for path in sorted({*old, *new}):
        was, now = old.get(path), new.get(path)
        if was != now:
            found.append(f"{path} was {was or 'not there'}, is {now or 'not there'}")
    return found
