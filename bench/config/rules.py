"""What a type allows, in words: the `must be ...` of every message."""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from bench.config.nested import is_record, record_fields, registry_of, without_null
from bench.config.redaction import redact_uri
from bench.config.yaml_file import DataPath, Key, Plain
from bench.config.yaml_text import yaml_inline
from bench.errors import did_you_mean

_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}
_LONGEST = 60  # characters of a value that a message repeats


def violated(annotation: Any, value: Plain) -> str:
    """`must be > 0, got -0.2`: the rule that a value breaks, and the nearest choice to a mistyped word."""
    words = [choice for choice in _choices(annotation) if isinstance(choice, str)]
    hint = did_you_mean(value[:_LONGEST], words) if isinstance(value, str) else ""
    return f"must be {_broken(annotation, value)}, got {shown_value(value)}{hint}"


def wrong_key(annotation: Any, key: Key) -> str:
    """`the key must be a whole number, got 'x'`, for an entry of a mapping of this type."""
    while _is_union(annotation) or get_origin(annotation) is Annotated:
        members = get_args(annotation)
        annotation = next((member for member in members if get_origin(member) is dict), members[0])
    allowed = rule(get_args(annotation)[0]) if get_origin(annotation) is dict else "another one"
    return f"the key must be {allowed}, got {shown_value(key)}"


def rule(annotation: Any) -> str:
    """What a type allows.

    >>> rule(int | None), rule(Literal["paper", "facenet"])
    ('a whole number or null', "one of 'paper', 'facenet'")
    """
    if (registry := registry_of(annotation)) is not None:
        return f"a section with a name ({listed(registry.spellings())})"
    if is_record(annotation):
        return f"a section of {', '.join(field.name for field in record_fields(annotation))}"
    if get_origin(annotation) is Annotated:
        base, *metadata = get_args(annotation)
        words = rule(base)
        if any(getattr(entry, "min_length", None) for entry in _flat(metadata)):
            words = f"a non-empty {words.removeprefix('a ')}"
        return f"{words} {limits(metadata)}".rstrip()
    members = get_args(annotation)
    if _is_union(annotation):
        return " or ".join(rule(member) for member in members)
    if get_origin(annotation) is Literal:
        choices = ", ".join(shown_value(choice) for choice in members)
        return f"one of {choices}" if len(members) > 1 else choices
    if get_origin(annotation) is tuple:
        return f"a list, each entry {rule(members[0])}"
    if get_origin(annotation) is dict:
        return f"a mapping, each key {rule(members[0])}, each value {rule(members[1])}"
    return _WORDS.get(annotation, "of another type")


def limits(metadata: Iterable[object]) -> str:
    """Bounds in words, `>= 0 and <= 3.14159 (radians)`; empty where there are none.

    Reads `losses.types.Bounds` and what pydantic makes of `Field(gt=...)` alike: both name their limits so.
    """
    bounds: list[str] = []
    unit = ""
    for entry in _flat(metadata):
        for name, sign in _SIGNS.items():
            limit = getattr(entry, name, None)
            if limit is not None:
                bounds.append(f"{sign} {limit:g}")
        unit = unit or getattr(entry, "unit", "")
    return " and ".join(bounds) + (f" ({unit})" if unit else "")


def type_at(annotation: Any, path: DataPath) -> Any:
    """Type of what is at `path` inside a value of this type; None where the type does not say."""
    for part in path:
        annotation = _inner(annotation, by_index=isinstance(part, int))
    return annotation


def shown_value(value: Plain) -> str:
    """The value as YAML on one line, cut when long, without secrets."""
    text = repr(redact_uri(value)) if isinstance(value, str) else redact_uri(yaml_inline(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def listed(names: Iterable[str]) -> str:
    """`a, b, c`."""
    return ", ".join(sorted(names))


def _broken(annotation: Any, value: Plain) -> str:
    """The limits alone when the type is right, else the whole rule."""
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    single = without_null(annotation)
    if get_origin(single) is Annotated and isinstance(value, (int, float)) and not isinstance(value, bool):
        base, *metadata = get_args(single)
        if base is float or (base is int and isinstance(value, int)):
            return limits(metadata)
    return rule(annotation)


def _choices(annotation: Any) -> Iterator[object]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif get_origin(annotation) is Annotated or _is_union(annotation):
        for member in get_args(annotation):
            yield from _choices(member)


def _inner(annotation: Any, *, by_index: bool) -> Any:
    """Type of the entries of a list, or of the values of a mapping."""
    if get_origin(annotation) is Annotated:
        return _inner(get_args(annotation)[0], by_index=by_index)
    if _is_union(annotation):
        found = (_inner(member, by_index=by_index) for member in get_args(annotation))
        return next((inner for inner in found if inner is not None), None)
    if get_origin(annotation) is tuple and by_index:
        return get_args(annotation)[0]
    return get_args(annotation)[1] if get_origin(annotation) is dict else None


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _flat(metadata: Iterable[object]) -> Iterator[object]:
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            yield from entry.metadata
        else:
            yield entry
