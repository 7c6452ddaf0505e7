"""A family: the components of another package, each under its own name behind a prefix, `pml:CircleLoss`."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownNameError(LookupError):
    """No component of that name; the message lists what there is and the nearest name."""


class MissingPackageError(UnknownNameError):
    """A family's package is not installed; the message says how to install it."""


@dataclass(frozen=True)
class Family(Generic[T]):
    """Where the components behind one prefix come from. Nothing is imported until somebody names one.

    Args:
        summary: what they are, on one line, for lists.
        package: the package that they come from, as one imports it.
        install: the command that installs it, for the message when it is missing.
        names: lists them, without the prefix; called only when the package is there.
        factory: name -> its factory, whose signature is the schema of its options as for every other
            component; called once a name, and only for one of `names`.
        alike: all take the same options, so that a schema needs to hold them only once.
        refused: name -> why, for names that the package has and that cannot be used here.
    """

    summary: str
    package: str
    install: str
    names: Callable[[], Sequence[str]]
    factory: Callable[[str], Callable[..., T]]
    alike: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)

    def is_installed(self) -> bool:
        """Whether the package is there; it is not imported to find out."""
        return importlib.util.find_spec(self.package) is not None

    def members(self, kind: str, prefix: str) -> list[str]:
        """All names with the prefix, sorted.

        Args:
            kind: what they are, for messages ("loss").
            prefix: the family's.

        Raises:
            MissingPackageError: with the command that installs the package.
        """
        if not self.is_installed():
            raise MissingPackageError(
                f"{kind} '{prefix}:...' needs the package {self.package}; install it with: {self.install}"
            )
        return [f"{prefix}:{name}" for name in sorted(self.names())]

    def make(self, kind: str, prefix: str, name: str) -> Callable[..., T]:
        """The factory of one component, called `name` without the prefix.

        Raises:
            MissingPackageError: as `members`.
            UnknownNameError: with the nearest name, or why it is refused.
        """
        members = self.members(kind, prefix)
        if name in self.refused:
            raise UnknownNameError(f"{kind} '{prefix}:{name}' cannot be used: {self.refused[name]}")
        if f"{prefix}:{name}" not in members:
            raise UnknownNameError(f"unknown {kind} '{prefix}:{name}'{_nearest(prefix, name, members)}")
        return self.factory(name)


_SHOWN = 8  # names in a message when none is near; timm alone has more than a thousand


def _nearest(prefix: str, name: str, members: Sequence[str]) -> str:
    folded = {member.removeprefix(f"{prefix}:").casefold(): member for member in members}
    if near := difflib.get_close_matches(name.casefold(), folded, n=1):
        return f"; did you mean {folded[near[0]]!r}?"
    return f"; there are {len(members)}: {', '.join(members[:_SHOWN])}{', ...' * (len(members) > _SHOWN)}"
