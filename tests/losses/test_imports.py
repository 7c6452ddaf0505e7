"""The losses stand alone: torch and the standard library."""

import ast
import sys
from pathlib import Path

import losses

ALLOWED = {"torch", "losses", *sys.stdlib_module_names}


def test_losses_import_torch_and_the_standard_library_only() -> None:
    files = sorted(Path(losses.__file__).parent.glob("*.py"))
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file.name}: relative import"
                names = [node.module or ""]
            for name in names:
                assert name.partition(".")[0] in ALLOWED, f"{file.name} imports {name}"


def test_every_public_name_exists_and_every_registered_loss_is_public() -> None:
    assert all(hasattr(losses, name) for name in losses.__all__)
    registered = [losses.LOSSES.get(name) for name in losses.LOSSES.names()]
    # other tests may have loaded losses of their own into this process
    own = {factory.__name__ for factory in registered if factory.__module__.startswith("losses.")}
    assert own <= set(losses.__all__)
