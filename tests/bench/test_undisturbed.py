"""`import torch` with the collector paused; each case in a process of its own, for torch is imported once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ASKED = "import gc, sys\nfrom bench.undisturbed import import_torch_undisturbed\nimport_torch_undisturbed()\n"


def run_python(code: str, *, path: Path | None = None) -> str:
    first = f"import sys; sys.path.insert(0, {str(path)!r})\n" if path else ""
    ended = subprocess.run([sys.executable, "-c", first + code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_torch_is_imported_as_ever_and_what_it_leaves_is_exempt() -> None:
    run_python(
        ASKED
        + """
collections = [each["collections"] for each in gc.get_stats()]
import torch
assert [each["collections"] for each in gc.get_stats()] == collections
import inspect
assert gc.isenabled() and gc.get_freeze_count() > 100_000, gc.get_freeze_count()
assert torch.ones(2).sum().item() == 2
assert type(torch.__loader__).__name__ == type(torch.nn.__loader__).__name__ == "SourceFileLoader"
assert torch.__spec__.loader is torch.__loader__
assert inspect.getsource(torch.is_tensor).startswith("def is_tensor")
assert not [finder for finder in sys.meta_path if type(finder).__module__ == "bench.undisturbed"]
"""
    )


def test_a_collector_that_is_off_stays_off() -> None:
    run_python("import gc; gc.disable()\n" + ASKED + "import torch\nassert not gc.isenabled()")


def test_an_import_that_fails_leaves_the_collector_on(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so is missing')")
    code = "try:\n    import torch\nexcept ImportError as error:\n    print(error, gc.isenabled())"
    assert run_python(ASKED + code, path=tmp_path) == "libcudart.so is missing True\n"


def test_without_torch_the_message_is_pythons() -> None:
    code = "try:\n    import torch\nexcept ImportError as error:\n    print(error, gc.isenabled())"
    assert run_python(ASKED + "sys.path.clear()\n" + code) == "No module named 'torch' True\n"


@pytest.mark.parametrize(("command", "imports"), [("list losses", True), ("--help", False)])
def test_commands_that_import_torch_do_it_so(command: str, *, imports: bool) -> None:
    code = f"""
import gc, sys
from bench.cli import main
sys.argv = ["bench", *{command.split()!r}]
try:
    main()
except SystemExit as ended:
    assert not ended.code
print("torch" in sys.modules, gc.get_freeze_count() > 0)
"""
    assert run_python(code).splitlines()[-1] == f"{imports} {imports}"
