"""Options that are sections themselves: a component, or a frozen dataclass; one of them or a list.

Files spell both as mappings; factories are given `Choice` and dataclass objects. A section in a file is laid
over the default in Python as over that of a parent file: what it leaves out stays, unless its name changes.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin

from bench.config.yaml_file import Plain
from losses.registry import Choice, Registry


def registry_of(annotation: Any) -> Registry[Any] | None:
    """REGISTRY of an `Annotated[Choice, REGISTRY]`, None for any other type."""
    if get_origin(annotation) is not Annotated or get_args(annotation)[0] is not Choice:
        return None
    return next((entry for entry in get_args(annotation)[1:] if isinstance(entry, Registry)), None)


def is_record(annotation: Any) -> TypeGuard[type]:
    """Whether a type is a dataclass, whose fields are then keys of a section."""
    return isinstance(annotation, type) and is_dataclass(annotation) and annotation is not Choice


def record_fields(record: type) -> list[Field[Any]]:
    """The fields that a file may set."""
    assert is_dataclass(record)
    return [field for field in fields(record) if field.init]


def holds_sections(annotation: Any) -> bool:
    """Whether values of a type are, or list, sections; if not, pydantic checks them as they are.

    Raises:
        TypeError: sections in a place from which no file could be read.
    """
    if annotation is Choice:
        raise TypeError("Choice without its registry, as in Annotated[Choice, LOSSES]")
    if registry_of(annotation) is not None or is_record(annotation):
        return True
    # Not any(): each member is to be looked at, so that none raises later.
    if True not in [holds_sections(member) for member in get_args(annotation)]:
        return False
    if without_null(annotation) is not annotation or is_list(annotation):
        return True
    raise TypeError("sections may stand alone, as 'X | None' or as 'tuple[X, ...]'")


def is_list(annotation: Any) -> bool:
    """Whether a type is `tuple[X, ...]`."""
    return get_origin(annotation) is tuple and get_args(annotation)[1:] == (...,)


def without_null(annotation: Any) -> Any:
    """X of `X | None`, any other type as it is."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    members = [member for member in get_args(annotation) if member is not type(None)]
    return members[0] if len(members) == 1 else annotation


def as_plain(value: Any) -> Plain:
    """A validated option, or a default in Python, as a file would hold it."""
    if isinstance(value, Choice):
        return {"name": value.name, **{option: as_plain(entry) for option, entry in value.options.items()}}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in record_fields(type(value))}
    if isinstance(value, Mapping):
        return {key: as_plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(as_plain(entry) for entry in value)
    plain: Plain = value
    return plain
