"""What pydantic finds wrong with a section, in our words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from bench.config.options import option_name
from bench.config.rules import listed, rule, shown_value, type_at, violated, wrong_key
from bench.config.yaml_file import DataPath, Key, Plain
from bench.errors import did_you_mean


class Finding(NamedTuple):
    """One thing wrong with a section.

    Args:
        path: where in the section.
        message: rule, value and remedy.
        missing: whether it is a key that has to be there and is not.
    """

    path: DataPath
    message: str
    missing: bool


def findings(
    error: ValidationError, values: dict[Key, Plain], types: Mapping[str, Any], owner: str
) -> Iterator[Finding]:
    """Each error of pydantic's.

    Args:
        error: from validating `values`.
        values: the section.
        types: key -> type, for every key that it may have.
        owner: whose section it is; empty where all keys are a matter of course.
    """
    for found in error.errors(include_url=False):
        path = _data_path(values, map(option_name, found["loc"]))
        value = _value_at(values, path) if path[0] in values else found["input"]
        missing = found["type"] == "missing"
        if found["type"] in ("extra_forbidden", "invalid_key"):
            message = f"unknown key{_known(str(path[0]), types, owner)}"
        elif missing:
            message = f"missing; must be {rule(types[str(path[0])])}"
        elif found["type"] == "value_error":
            message = f"{found['ctx']['error']}, got {shown_value(value)}"
        elif "[key]" in found["loc"]:
            message = wrong_key(types.get(str(path[0])), path[-1])
        elif (annotation := type_at(types.get(str(path[0])), path[1:])) is not None:
            message = violated(annotation, value)
        else:
            message = f"{found['msg']}, got {shown_value(value)}"
        yield Finding(path, message, missing)


def _data_path(values: Plain, loc: Iterable[int | str]) -> DataPath:
    """The part of pydantic's location that lies in the data: it also names members of unions."""
    path: list[int | str] = []
    for part in loc:
        if isinstance(values, dict):
            key = next((key for key in values if str(key) == str(part)), None)
            if key is None and path:
                break
            path.append(part if key is None else key)
            values = None if key is None else values[key]
        elif isinstance(values, tuple) and isinstance(part, int) and part < len(values):
            path.append(part)
            values = values[part]
        else:
            break
    return tuple(path)


def _value_at(values: Plain, path: DataPath) -> Plain:
    for part in path:
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, tuple) and isinstance(part, int):
            values = values[part]
    return values


def _known(key: str, types: Mapping[str, Any], owner: str) -> str:
    """The end of a message about an unknown key: the nearest key, or all there are."""
    hint = did_you_mean(key[:100], types)
    if hint or not owner:
        return hint
    return f"; '{owner}' takes {listed(types)}" if types else f"; '{owner}' takes no options"
