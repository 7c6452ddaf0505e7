"""A search as reports see it: what was asked of it, and its trials, whoever conducted them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Value: TypeAlias = "str | int | float | bool | None"
TrialState = Literal["complete", "pruned", "failed", "running", "waiting"]


@dataclass(frozen=True, slots=True)
class Objective:
    """A figure that is searched on.

    Args:
        metric: `validation/accuracy`, say.
        is_maximized: more is better.
    """

    metric: str
    is_maximized: bool

    @property
    def name(self) -> str:
        """The last part of the metric, for file names."""
        return self.metric.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that is searched.

    Args:
        path: dotted.
        space: what may stand there, in words.
        is_log: its axis is logarithmic.
        choices: as text, where there is no number line; else empty.
    """

    path: str
    space: str
    is_log: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """One trial.

    Args:
        number: from 0.
        state: how it stands.
        values: one an objective; empty while there is none.
        chosen: path -> value, of the settings that it has.
        curve: evaluation (1, 2, ...) -> the objective there; empty with several objectives.
        seconds: of wall time; None: not ended.
        images: forward and backward; None: its folder is not here.
        reason: why it failed.
    """

    number: int
    state: TrialState
    values: tuple[float, ...]
    chosen: Mapping[str, Value]
    curve: Mapping[int, float]
    seconds: float | None = None
    images: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Search:
    """A search and where it stands.

    Args:
        objectives: one, or several.
        settings: what is searched, in the order of its file.
        trials: by number.
        best: numbers of the trials that no other beats.
        importances: metric -> path -> share of the variance; what could not be computed is left out.
    """

    objectives: tuple[Objective, ...]
    settings: tuple[Setting, ...]
    trials: tuple[Trial, ...]
    best: tuple[int, ...]
    importances: Mapping[str, Mapping[str, float]]

    def of(self, *states: TrialState) -> list[Trial]:
        """The trials that stand so."""
        return [trial for trial in self.trials if trial.state in states]

    def varied(self) -> list[Setting]:
        """The settings that all complete trials have, and not all alike."""
        complete = self.of("complete")
        return [
            setting
            for setting in self.settings
            if all(setting.path in trial.chosen for trial in complete)
            and len({shown(trial.chosen[setting.path]) for trial in complete}) > 1
        ]


def best_so_far(trials: Sequence[Trial], objective: Objective, place: int) -> list[tuple[int, float]]:
    """(number, best value up to and with it) of the complete trials.

    >>> one, two = Trial(0, "complete", (0.9,), {}, {}), Trial(2, "complete", (0.8,), {}, {})
    >>> best_so_far([one, two], Objective("validation/accuracy", True), 0)
    [(0, 0.9), (2, 0.9)]
    """
    better = max if objective.is_maximized else min
    found: list[tuple[int, float]] = []
    for trial in trials:
        if trial.state == "complete":
            value = trial.values[place]
            found.append((trial.number, better(found[-1][1], value) if found else value))
    return found


def shown(value: Value) -> str:
    """A value as people write it.

    >>> shown(0.00123456), shown(True), shown(None), shown("hard")
    ('0.001235', 'true', 'null', 'hard')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
