"""Options given in Python are held to the types that a configuration file is held to."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from losses.types import Bounds


def check_options(factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Check the values of keyword options against the `Bounds` and `Literal`s of the signature.

    Raises:
        ValueError: the first option that breaks its rule: rule, value, and the remedy where there is one.
    """
    target = factory.__init__ if inspect.isclass(factory) else factory
    hints = get_type_hints(target, include_extras=True)
    for name, value in options.items():
        if name in hints and (problem := _problem(hints[name], value)):
            raise ValueError(f"{name} {problem}")


def _problem(annotation: Any, value: Any) -> str:
    """What is wrong with the value; empty if nothing is."""
    if get_origin(annotation) is Literal and value not in get_args(annotation):
        choices = [str(choice) for choice in get_args(annotation)]
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"must be one of {', '.join(choices)}, but got {value!r}{hint}"
    if get_origin(annotation) is Annotated:
        for bounds in get_args(annotation)[1:]:
            if isinstance(bounds, Bounds) and not _inside(bounds, value):
                return f"must be {_rule(bounds)}, but got {value!r}{_degrees(bounds, value)}"
    return ""


def _inside(bounds: Bounds, value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (bounds.ge is None or value >= bounds.ge)
        and (bounds.gt is None or value > bounds.gt)
        and (bounds.le is None or value <= bounds.le)
        and (bounds.lt is None or value < bounds.lt)
    )


def _rule(bounds: Bounds) -> str:
    limits = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
    rules = [
        f"{sign} {getattr(bounds, field):.6g}" for field, sign in limits if getattr(bounds, field) is not None
    ]
    return f"a number {' and '.join(rules)}" + (f" {bounds.unit}" if bounds.unit else "")


def _degrees(bounds: Bounds, value: Any) -> str:
    if bounds.unit != "radians" or not isinstance(value, int | float) or not 0 < value <= 180:
        return ""
    return f"; {value:g} degrees are {math.radians(value):.4g} radians"
