"""A registered factory's signature -> the pydantic model of its section in a file."""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, create_model
from pydantic.errors import PydanticUserError

from bench.config.sections import Section
from bench.errors import UserError
from losses.registry import Registry
from losses.types import Bounds

_PREFIX = "option_"  # an option may be called `copy` or `json`, which are methods of a pydantic model


def options_model(registry: Registry[Any], name: str) -> type[Section]:
    """Model of `{name: ..., **options}` for one component; its fields have the options' names as aliases.

    Raises:
        UnknownNameError: no such component.
        UserError: an option that no file could set (a plugin's author reads this).
    """
    return _model(registry, name, registry.get(name))


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
def _model(registry: Registry[Any], name: str, factory: Callable[..., Any]) -> type[Section]:
    # `factory` is an argument so that a name that comes to mean another factory misses the cache.
    described = described_options(factory)
    fields: dict[str, Any] = {"name": (Literal[name], Field(description=registry.summary(name)))}
    try:
        for option, (annotation, default) in registry.options(name).items():
            if option == "name":
                raise UserError(f"{registry.kind} '{name}': an option cannot be called 'name'; rename it")
            description = " ".join(part for part in (described.get(option, ""), _unit(annotation)) if part)
            field = Field(default=default, alias=option, description=description or None)
            fields[_PREFIX + option] = (bounded(annotation), field)
        return create_model(_class_name(registry.kind, name), __base__=Section, **fields)
    except (PydanticUserError, NameError, AttributeError, TypeError, SyntaxError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{registry.kind} '{name}': an option has a type no file can give: {reason}"
        ) from error


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


def _unit(annotation: Any) -> str:
    """`(radians)` when any part of the annotation states a unit."""
    if isinstance(annotation, Bounds):
        return f"({annotation.unit})" if annotation.unit else ""
    return next(filter(None, map(_unit, get_args(annotation))), "")


def _class_name(kind: str, name: str) -> str:
    return "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", f"{name} {kind}"))
