"""The losses stand alone: torch and the standard library."""

import ast
import subprocess
import sys
from pathlib import Path

import losses

ALLOWED = {"torch", "losses", *sys.stdlib_module_names}


# imported inside a function, when one of its losses is named
LAZY = {"pml.py": {"pytorch_metric_learning"}}


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
                allowed = ALLOWED | LAZY.get(file.name, set())
                assert name.partition(".")[0] in allowed, f"{file.name} imports {name}"


def test_importing_losses_imports_no_other_package() -> None:
    program = "import sys, losses; print([name for name in {names} if name in sys.modules])"
    names = ("pytorch_metric_learning", "sklearn", "scipy", "pandas", "pydantic", "bench")
    done = subprocess.run(
        [sys.executable, "-c", program.format(names=names)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists_and_every_registered_loss_is_public() -> None:
    assert all(hasattr(losses, name) for name in losses.__all__)
    registered = [losses.LOSSES.get(name) for name in losses.LOSSES.names()]
    # other tests may have loaded losses of their own into this process
    own = {factory.__name__ for factory in registered if factory.__module__.startswith("losses.")}
    assert own <= set(losses.__all__)
