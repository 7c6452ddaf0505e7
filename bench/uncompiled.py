"""Training without torch's compiler: `torch._dynamo` is imported by who compiles, not by the first step.

torch.optim imports it to tell a compiler that may be tracing where to stop. Where nothing is compiled these
marks do nothing, and the import takes a second: a third of the way from the command to the first step.

The stand-in answers to these marks and to nothing else. Whatever asks for more, a torch that we do not know
among them, gets the real module, and the functions that were left unmarked are marked when next called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

_NAME = "torch._dynamo"
_unmarked: list[Callable[..., Any]] = []


def postpone_compiler() -> None:
    """Let `torch._dynamo` be imported at the first use of more than torch.optim's marks.

    Does nothing where it is there already. `torch.compile`, and whatever else asks for any part of it, gets
    the real module, as if this had never been called.
    """
    if _NAME not in sys.modules:
        sys.modules[_NAME] = _Postponed(_NAME)
        torch._dynamo = sys.modules[_NAME]


class _Postponed(ModuleType):
    """Stands in for the module until it is needed."""

    @staticmethod
    def graph_break() -> None:
        """Nothing is being traced: the real one is in place before anything can be."""

    @staticmethod
    def disable(function: Any = None, recursive: bool = True, *, wrapping: bool = True, **more: Any) -> Any:
        """A function of torch's own stays as it is: torch alone asks for no wrapping."""
        if wrapping:
            return _real().disable(function, recursive, **more)
        _unmarked.append(function)
        return function

    def __getattr__(self, name: str) -> Any:
        # Import asks a package for its path before it looks for a module in it. Other such names are asked of
        # every module, by inspect or warnings.
        if name.startswith("__") and name != "__path__":
            raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")
        return getattr(_real(), name)


def _real() -> ModuleType:
    if isinstance(sys.modules.get(_NAME), _Postponed):
        del sys.modules[_NAME]
        for function in _unmarked:  # torch keeps what `disable` has returned; let it ask again
            vars(function).pop("__dynamo_disable", None)
        _unmarked.clear()
    return importlib.import_module(_NAME)  # which also becomes an attribute of torch
