"""The search space: dotted path -> what a search may put there. Knows YAML trees, not Optuna."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from bench.config.check import Checker
from bench.config.layers import data_path
from bench.config.rules import listed, shown_value
from bench.config.yaml_file import DataPath, Key, Node, Origin, Plain, Scalar, plain
from bench.config.yaml_text import yaml_inline
from bench.errors import did_you_mean

Values: TypeAlias = Mapping[str, Scalar]
"""Dotted path -> chosen value."""

_KINDS = ("float", "int", "categorical")
_KEYS = (*_KINDS, "log", "step", "when")
# What decides which figure is compared, where a run computes, and by which luck: no hyperparameters.
_CLOSED = {
    "name": "is only a name",
    "description": "is only a name",
    "plugins": "is code",
    "seed": "is luck, which a search must not tune; compare the winner over several seeds instead",
    "data": "decides what is learnt and measured, which has to be the same for all trials",
    "evaluate": "decides what is measured, which has to be the same for all trials",
    "runtime": "decides where a run computes, not what",
    "tracking": "decides where a run is tracked, not what it does",
}


@dataclass(frozen=True, slots=True)
class Float:
    """A number from low to high, both included.

    Args:
        low: smallest value.
        high: largest value.
        log: search in the logarithm.
        step: only low, low + step, ...; null: any.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def ends(self) -> tuple[Scalar, ...]:
        """The values to check: the schema's limits are intervals, so the ends speak for what is between."""
        return (self.low, self.high)

    def grid(self) -> tuple[Scalar, ...] | None:
        """Every value; None when there is no end to them."""
        if self.step is None:
            return None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return tuple(self.low + index * self.step for index in range(count))

    def __str__(self) -> str:
        extra = "".join([", log" if self.log else "", f", step {self.step:g}" if self.step else ""])
        return f"float {self.low:g} to {self.high:g}{extra}"


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number from low to high, both included; see `Float`."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def ends(self) -> tuple[Scalar, ...]:
        """The values to check."""
        return (self.low, self.high)

    def grid(self) -> tuple[Scalar, ...]:
        """Every value."""
        return tuple(range(self.low, self.high + 1, self.step))

    def __str__(self) -> str:
        extra = "".join([", log" if self.log else "", f", step {self.step}" if self.step != 1 else ""])
        return f"int {self.low} to {self.high}{extra}"


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of several values."""

    choices: tuple[Scalar, ...]

    def ends(self) -> tuple[Scalar, ...]:
        """The values to check: all of them."""
        return self.choices

    def grid(self) -> tuple[Scalar, ...]:
        """Every value."""
        return self.choices

    def __str__(self) -> str:
        return f"categorical {yaml_inline(self.choices)}"


Domain: TypeAlias = Float | Int | Categorical


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a search space.

    Args:
        path: dotted path into the configuration.
        domain: the values it may take.
        when: dotted path -> value: searched only where those hold; empty: always.
        origin: where it was written.
    """

    path: str
    domain: Domain
    when: Mapping[str, Scalar] = field(default_factory=dict)
    origin: Origin = field(default=Origin("search"), compare=False)

    @property
    def data_path(self) -> DataPath:
        """The path as keys."""
        return data_path(self.path)

    def is_active(self, chosen: Values) -> bool:
        """Whether its conditions hold."""
        return all(path in chosen and _equal(chosen[path], value) for path, value in self.when.items())

    def __str__(self) -> str:
        conditions = " and ".join(f"{path} is {yaml_inline(value)}" for path, value in self.when.items())
        return f"{self.domain}{f' when {conditions}' if conditions else ''}"


@dataclass(frozen=True, slots=True)
class Space:
    """What a study searches, conditions before what hangs on them."""

    entries: tuple[Entry, ...]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __getitem__(self, path: str) -> Entry:
        return next(entry for entry in self.entries if entry.path == path)

    @property
    def paths(self) -> list[str]:
        """All paths, in order."""
        return [entry.path for entry in self.entries]

    def complete(self, chosen: Values) -> dict[str, Scalar]:
        """`chosen`, and of every other entry that is active beside it the first value."""
        values: dict[str, Scalar] = {}
        for entry in self.entries:
            if entry.path in chosen:
                values[entry.path] = chosen[entry.path]
            elif entry.is_active(values):
                values[entry.path] = entry.domain.ends()[0]
        return values

    def needed(self, entry: Entry) -> dict[str, Scalar]:
        """What has to be chosen for an entry to be active."""
        values = dict(entry.when)
        for path in entry.when:
            values = {**self.needed(self[path]), **values}
        return values

    def corners(self) -> Iterator[tuple[Entry, dict[str, Scalar]]]:
        """Choices that between them hold both ends of every range and every categorical value."""
        for entry in self.entries:
            for value in entry.domain.ends():
                yield entry, self.complete({**self.needed(entry), entry.path: value})

    def grid(self) -> list[dict[str, Scalar]]:
        """Every combination; for spaces whose domains all have a grid."""
        points: list[dict[str, Scalar]] = [{}]
        for entry in self.entries:
            extended: list[dict[str, Scalar]] = []
            for point in points:
                values = entry.domain.grid() if entry.is_active(point) else None
                extended += [{**point, entry.path: value} for value in values] if values else [point]
            points = extended
        return points


def read_space(checker: Checker) -> Space:
    """The `search` section of the checker's tree; what is wrong is reported to the checker."""
    node = checker.tree.value.get("search") if isinstance(checker.tree.value, Mapping) else None
    if node is None:
        checker.report(
            ("search",),
            "missing; a study says what it searches: 'search: {loss.alpha: {float: [0.05, 1.0]}}'",
            missing=True,
        )
        return Space(())
    if not isinstance(node.value, Mapping) or not node.value:
        checker.report(("search",), f"must hold 'path: range' lines, got {shown_value(plain(node))}")
        return Space(())
    entries = {}
    for key, entry_node in node.value.items():
        entry = _entry(checker, str(key), entry_node)
        if entry is not None:
            entries[entry.path] = entry
    return Space(tuple(_ordered(checker, entries)))


def _entry(checker: Checker, path: str, node: Node) -> Entry | None:
    at: DataPath = ("search", path)
    before = len(checker.problems)
    section = path.partition(".")[0]
    if section in _CLOSED:
        checker.report(at, f"cannot be searched: {section} {_CLOSED[section]}")
        return None
    options = plain(node)
    if not isinstance(options, dict):
        example = "{float: [0.05, 1.0]}, {int: [8, 64]} or {categorical: [a, b]}"
        checker.report(at, f"must be a range, such as {example}, got {shown_value(options)}")
        return None
    for option in options:
        if option not in _KEYS:
            hint = did_you_mean(str(option), _KEYS) or f"; there are {listed(_KEYS)}"
            checker.report((*at, option), f"unknown key{hint}")
    kinds = [kind for kind in _KINDS if kind in options]
    if len(kinds) != 1:
        wrong = f"got {' and '.join(kinds)}" if kinds else "got none of them"
        checker.report(at, f"must have one of float, int, categorical; {wrong}")
        return None
    domain = _domain(checker, at, kinds[0], options)
    when = _conditions(checker, at, options)
    if domain is None or len(checker.problems) > before:
        return None
    return Entry(path, domain, when, node.origin)


def _domain(checker: Checker, at: DataPath, kind: str, options: Mapping[Key, Plain]) -> Domain | None:
    given = options[kind]
    log, step = options.get("log", False), options.get("step")
    if not isinstance(log, bool):
        checker.report((*at, "log"), f"must be true or false, got {shown_value(log)}")
        return None
    if kind == "categorical":
        return _categorical(checker, at, given, options)
    is_kind = _is_int if kind == "int" else _is_number
    what = "whole numbers" if kind == "int" else "finite numbers"
    if not (isinstance(given, tuple) and len(given) == 2 and all(map(is_kind, given))):
        checker.report((*at, kind), f"must be [low, high], two {what}, got {shown_value(given)}")
        return None
    low, high = given
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if low >= high:
        checker.report((*at, kind), f"low must be below high, got {shown_value(given)}")
    elif log and low <= 0:
        checker.report((*at, kind), f"low must be > 0 to be searched in the logarithm, got {low:g}")
    elif log and step is not None:
        checker.report((*at, "step"), "cannot stand beside log: true; leave one of them out")
    elif step is not None and not (
        is_kind(step) and isinstance(step, int | float) and 0 < step <= high - low
    ):
        checker.report((*at, "step"), f"must be > 0 and at most high - low, got {shown_value(step)}")
    elif kind == "int":
        return Int(int(low), int(high), log, int(step) if isinstance(step, int) else 1)
    else:
        return Float(float(low), float(high), log, float(step) if isinstance(step, int | float) else None)
    return None


def _categorical(
    checker: Checker, at: DataPath, given: Plain, options: Mapping[Key, Plain]
) -> Categorical | None:
    for option in ("log", "step"):
        if option in options:
            checker.report((*at, option), "means nothing to categorical values; leave it out")
            return None
    if not isinstance(given, tuple) or len(given) < 2:
        checker.report(
            (*at, "categorical"), f"must be a list of at least two values, got {shown_value(given)}"
        )
        return None
    choices: list[Scalar] = []
    for choice in given:
        if isinstance(choice, dict | tuple):
            checker.report(
                (*at, "categorical"), f"must list single values, not sections; got {shown_value(choice)}"
            )
            return None
        if any(_equal(choice, earlier) for earlier in choices):
            checker.report((*at, "categorical"), f"must list each value once, got {shown_value(given)}")
            return None
        choices.append(choice)
    return Categorical(tuple(choices))


def _conditions(checker: Checker, at: DataPath, options: Mapping[Key, Plain]) -> dict[str, Scalar]:
    when = options.get("when", {})
    if not isinstance(when, dict) or ("when" in options and not when):
        checker.report(
            (*at, "when"), f"must be conditions, such as {{loss.name: triplet}}, got {shown_value(when)}"
        )
        return {}
    found: dict[str, Scalar] = {}
    for path, value in when.items():
        if isinstance(value, dict | tuple):
            checker.report((*at, "when", path), f"must be a single value, got {shown_value(value)}")
        else:
            found[str(path)] = value
    return found


def _ordered(checker: Checker, entries: Mapping[str, Entry]) -> Iterator[Entry]:
    """Entries behind those that their conditions name."""
    done: set[str] = set()
    waiting = list(entries.values())
    for entry in list(waiting):
        for path, value in entry.when.items():
            at: DataPath = ("search", entry.path, "when", path)
            if path not in entries:
                hint = did_you_mean(path, entries)
                checker.report(at, f"'{path}' is not searched, so it cannot be a condition{hint}")
            elif not _may_be(entries[path].domain, value):
                checker.report(at, f"never holds: {path} is {entries[path].domain}, not {shown_value(value)}")
    while waiting:
        ready = [entry for entry in waiting if all(path in done for path in entry.when)]
        if not ready:
            for entry in waiting:
                if all(path in entries for path in entry.when):
                    checker.report(
                        ("search", entry.path, "when"), "hangs on itself, by way of its conditions"
                    )
            return
        yield from ready
        done |= {entry.path for entry in ready}
        waiting = [entry for entry in waiting if entry.path not in done]


def _may_be(domain: Domain, value: Scalar) -> bool:
    grid = domain.grid()
    if grid is None:
        assert isinstance(domain, Float)
        return isinstance(value, int | float) and domain.low <= value <= domain.high
    return any(_equal(value, choice) for choice in grid)


def _equal(one: Scalar, other: Scalar) -> bool:
    # True is no 1
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _is_int(value: Plain) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Plain) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
