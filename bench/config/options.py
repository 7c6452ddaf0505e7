"""A registered factory's signature, or the fields of a dataclass -> what its section in a file may hold."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, create_model
from pydantic.errors import PydanticUserError

from bench.config.nested import as_plain, holds_sections, record_fields
from bench.config.sections import Section
from bench.errors import UserError
from losses.registry import Registry
from losses.types import Bounds

_PREFIX = "option_"  # an option may be called `copy` or `json`, which are methods of a pydantic model


@dataclass(frozen=True, slots=True)
class Options:
    """What may stand in one section.

    Args:
        model: the options that pydantic checks; its fields have the options' names as aliases.
        types: option -> type, in order of declaration, for every option.
        nested: option -> default as a file would hold it (MISSING: there is none), for options that are
            sections or list them.
        described: option -> what the docstring says of it.
    """

    model: type[Section]
    types: Mapping[str, Any]
    nested: Mapping[str, Any]
    described: Mapping[str, str]


def component_options(registry: Registry[Any], name: str) -> Options:
    """Options of `{name: ..., **options}` for one component.

    Raises:
        UnknownNameError: no such component.
        UserError: an option that no file could set (a plugin's author reads this).
    """
    return _of_component(registry, name, registry.get(name))


@functools.lru_cache(maxsize=1024)
def record_options(record: type) -> Options:
    """Options of a section that holds the fields of a dataclass.

    Raises:
        UserError: a field that no file could set (a plugin's author reads this).
    """

    def declared() -> dict[str, tuple[Any, Any]]:
        hints = get_type_hints(record, include_extras=True)
        return {field.name: (hints[field.name], _default(field)) for field in record_fields(record)}

    return _options(record.__name__, record, declared, {})


def option_values(section: BaseModel) -> dict[str, Any]:
    """The validated keyword options, without the name."""
    return {
        field.removeprefix(_PREFIX): getattr(section, field)
        for field in type(section).model_fields
        if field.startswith(_PREFIX)
    }


def option_name(field: int | str) -> int | str:
    """The option that pydantic calls by its field's name when its default is at fault."""
    return field.removeprefix(_PREFIX) if isinstance(field, str) else field


@functools.lru_cache(maxsize=1024)
def _of_component(registry: Registry[Any], name: str, factory: Callable[..., Any]) -> Options:
    # `factory` is an argument so that a name that comes to mean another factory misses the cache.
    title = f"{registry.kind} '{name}'"

    def declared() -> dict[str, tuple[Any, Any]]:
        options = registry.options(name)
        if "name" in options:
            raise UserError(f"{title}: an option cannot be called 'name'; rename it")
        return options

    field = (Literal[name], Field(description=registry.summary(name)))
    return _options(title, factory, declared, {"name": field})


def _options(
    title: str,
    documented: Callable[..., Any],
    declared: Callable[[], Mapping[str, tuple[Any, Any]]],
    fields: dict[str, Any],
) -> Options:
    """The options that `declared` gives with their defaults, after `fields`, which are pydantic's."""
    described = described_options(documented)
    nested: dict[str, Any] = {}
    try:
        options = declared()
        for option, (annotation, default) in options.items():
            if holds_sections(annotation):
                nested[option] = default if default is MISSING else as_plain(default)
                continue
            description = " ".join(part for part in (described.get(option, ""), unit(annotation)) if part)
            given: Any = ... if default is MISSING else default
            field = Field(default=given, alias=option, description=description or None)
            fields[_PREFIX + option] = (bounded(annotation), field)
        model = create_model(_class_name(title), __base__=Section, **fields)
    except (PydanticUserError, NameError, AttributeError, TypeError, SyntaxError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{title}: an option has a type no file can give: {reason}") from error
    kinds = {option: annotation for option, (annotation, _) in options.items()}
    return Options(model, kinds, nested, described)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def bounded(annotation: Any) -> Any:
    """The annotation with every `Bounds` in it as the `Field` that pydantic enforces."""
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        base, *metadata = members
        if base not in (int, float) and any(isinstance(entry, Bounds) for entry in metadata):
            raise TypeError(f"limits on {base.__name__ if isinstance(base, type) else base}, no number")
        return Annotated[(bounded(base), *(_field(entry) for entry in metadata))]
    if origin in (Union, types.UnionType):
        return functools.reduce(lambda left, right: left | right, map(bounded, members))
    if origin in (tuple, dict):
        return origin[tuple(member if member is ... else bounded(member) for member in members)]
    return annotation


def described_options(factory: Callable[..., Any]) -> dict[str, str]:
    """Option -> what the `Args:` of a Google-style docstring say of it, on one line."""
    lines = (inspect.getdoc(factory) or "").splitlines()
    if "Args:" not in lines:
        return {}
    found: dict[str, str] = {}
    option = ""
    for line in lines[lines.index("Args:") + 1 :]:
        if line and not line.startswith(" "):
            break
        if match := re.fullmatch(r" {4}(\w+): (.*)", line):
            option, found[match[1]] = match[1], match[2]
        elif option and line.strip():
            found[option] += f" {line.strip()}"
    return found


def _field(entry: object) -> object:
    return Field(ge=entry.ge, gt=entry.gt, le=entry.le, lt=entry.lt) if isinstance(entry, Bounds) else entry


def unit(annotation: Any) -> str:
    """`(radians)` when any part of the annotation states a unit."""
    if isinstance(annotation, Bounds):
        return f"({annotation.unit})" if annotation.unit else ""
    return next(filter(None, map(unit, get_args(annotation))), "")


def _class_name(title: str) -> str:
    return "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", title))
