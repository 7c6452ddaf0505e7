"""Importing torch without the garbage collector, which finds nothing there and takes a fifth of the time.

torch's modules leave some hundred thousand objects, all of them for good. The collector walks through them
again and again while they are made, later whenever it looks at everything, and once more when the process
ends: 0.2 s of a start and 0.4 s of an end.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


def import_torch_undisturbed() -> None:
    """From now on `import torch`, wherever it stands, pauses the collector, and exempts what there is then.

    Does nothing where torch is there already, or where nothing is collected anyway. For commands: a program
    that imports this project decides for itself.
    """
    if "torch" not in sys.modules and gc.isenabled():
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Undisturbed(spec.loader)
        return spec


class _Undisturbed(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        # the real one: it is asked for sources and files later
        module.__spec__.loader = module.__loader__ = self._loader
        gc.disable()
        try:
            self._loader.exec_module(module)
            gc.freeze()
        finally:
            gc.enable()
