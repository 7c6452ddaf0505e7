"""A registry maps a name to a factory, and the factory's signature is the schema of its options.

Positional parameters are filled by the engine (`embedding_dim`, `num_classes`); keyword-only parameters
are what a configuration file may set. There is nothing else to declare.

Names may come in families: `pml:CircleLoss` is whatever the family registered as `pml` makes of `CircleLoss`.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_type_hints

from losses.families import Family, UnknownNameError

__all__ = ["Choice", "Family", "Registry", "UnknownNameError", "snake_case"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Choice:
    """A component as an option of another: its name and its own options.

    The annotation of such an option says from which registry: `loss: Annotated[Choice, LOSSES]`. In a
    configuration it is a section like any other component's, `{name: triplet, alpha: 0.3}`: whoever reads one
    validates name and options by the registry that stands in the annotation, and makes
    `Choice("triplet", {"alpha": 0.3})` of it. Options that are left out may stay out.

    An option may also be a frozen dataclass, or a tuple of one (`terms: tuple[Term, ...]`); its fields are
    keys of a mapping, typed like options (`Choice` among them), required where they have no default.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Registry(Generic[T]):
    """Named factories of one kind of component.

    Args:
        kind: what the components are, singular, for messages ("loss").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._factories: dict[str, Callable[..., T]] = {}
        self._families: dict[str, Family[T]] = {}
        self._members: dict[str, Callable[..., T]] = {}  # of families, as they were asked for

    def register(self, factory: F) -> F:
        """Decorator: add a class (`MyLoss` -> `my_loss`) or a function (its own name).

        Raises:
            ValueError: another factory already has that name.
            TypeError: an option has no annotation or no default, so that a file could not leave it out.
        """
        return self.named(snake_case(factory.__name__))(factory)

    def named(self, name: str) -> Callable[[F], F]:
        """`register` under a name that the factory cannot have, or that the field spells otherwise.

        `@LOSSES.named("arcface")` before `class ArcFace(Loss)`.
        """
        return functools.partial(self._add, name)

    def _add(self, name: str, factory: F) -> F:
        if self._factories.get(name, factory) is not factory:
            raise ValueError(f"{self.kind} {name!r} is already registered; choose another name")
        if ":" in name:
            raise ValueError(f"{self.kind} {name!r}: ':' stands between a family and a name; use add_family")
        self._check(name, factory)
        self._factories[name] = factory
        return factory

    def _check(self, name: str, factory: Callable[..., Any]) -> None:
        for option in _keyword_only(factory):
            if option.annotation is option.empty or option.default is option.empty:
                raise TypeError(f"{self.kind} {name!r}: option {option.name!r} needs a type and a default")

    def add_family(self, prefix: str, family: Family[T]) -> None:
        """Add every name of a family, as `prefix:NAME`.

        Raises:
            ValueError: another family already has that prefix.
        """
        if prefix in self._families:
            raise ValueError(f"{self.kind} family {prefix!r} is already registered; choose another prefix")
        self._families[prefix] = family

    def names(self) -> list[str]:
        """All names but those of families, sorted."""
        return sorted(self._factories)

    def families(self) -> dict[str, Family[T]]:
        """Prefix -> family, sorted."""
        return dict(sorted(self._families.items()))

    def spellings(self) -> list[str]:
        """What may stand in a name's place, for messages: all names, then `prefix:NAME` for each family."""
        return [*self.names(), *(f"{prefix}:NAME" for prefix in self.families())]

    def get(self, name: str) -> Callable[..., T]:
        """The factory of that name; the same object each time.

        Raises:
            UnknownNameError: with the nearest name, or how to install the package that a family needs.
        """
        prefix, colon, member = name.partition(":")
        if colon and prefix in self._families:
            if name not in self._members:
                factory = self._families[prefix].make(self.kind, prefix, member)
                self._check(name, factory)
                self._members[name] = factory
            return self._members[name]
        if name not in self._factories:
            raise UnknownNameError(f"unknown {self.kind} {name!r}{self._nearest(prefix, member)}")
        return self._factories[name]

    def _nearest(self, name: str, member: str) -> str:
        known = list(self._families) if member else self.names()
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5 if member else 0.6)
        if not near:
            return f"; there are {', '.join(self.spellings())}"
        return f"; did you mean '{near[0]}:{member}'?" if member else f"; did you mean {near[0]!r}?"

    def options(self, name: str) -> dict[str, tuple[Any, Any]]:
        """Option name -> (annotation with its `Annotated` metadata, default), in order of declaration."""
        factory = self.get(name)
        target = factory.__init__ if inspect.isclass(factory) else factory
        hints = get_type_hints(target, include_extras=True)
        return {option.name: (hints[option.name], option.default) for option in _keyword_only(factory)}

    def build(self, name: str, available: Mapping[str, Any], options: Mapping[str, Any]) -> T:
        """Call the factory with its options and those of the engine's values that its signature names."""
        factory = self.get(name)
        parameters = inspect.signature(factory).parameters.values()
        wanted = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        return factory(*(available[wish] for wish in wanted), **options)

    def summary(self, name: str) -> str:
        """First line of the component's docstring."""
        return (inspect.getdoc(self.get(name)) or "").partition("\n")[0]


def snake_case(name: str) -> str:
    """`CenterTerm` -> `center_term`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _keyword_only(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(factory).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
