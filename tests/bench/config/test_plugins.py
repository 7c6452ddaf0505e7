"""Plugins: a user's own loss from one file, imported once, named when it fails."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.config import RunConfig
from bench.errors import ConfigError
from losses.registry import Registry

Load = Callable[..., RunConfig]

COUNT = itertools.count()
_NULL_BYTE = "SyntaxError" if sys.version_info >= (3, 11, 4) else "ValueError"  # what Python calls it

PLUGIN = """\
import plugin_host

@plugin_host.LOSSES.register
def mine_{number}(*, weight: float = 0.5) -> None:
    \"\"\"A loss of my own.\"\"\"
"""


class Host:
    """Stands for the module whose registry a plugin decorates with."""

    def __init__(self, losses: Registry[object]) -> None:
        self.LOSSES = losses


@pytest.fixture
def plugin(
    folder: Path, components: dict[str, Registry[object]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A plugin `mine.py` of unique content; yields the name of the loss that it registers."""
    monkeypatch.setitem(sys.modules, "plugin_host", Host(components["loss"]))  # type: ignore[arg-type]
    number = next(COUNT)
    (folder / "mine.py").write_text(PLUGIN.format(number=number))
    yield f"mine_{number}"


def test_a_plugin_beside_the_file_brings_its_loss(load: Load, plugin: str, valid: str) -> None:
    text = valid.replace("{name: center, factor: 0.01}", f"{{name: {plugin}, weight: 2}}")

    config = load(text=f"plugins: [mine.py]\n{text}")

    assert (config.loss.name, dict(config.loss.options)) == (plugin, {"weight": 2.0})


def test_a_plugin_is_imported_once_however_often_it_is_named(load: Load, plugin: str, folder: Path) -> None:
    (folder / "copy.py").write_text((folder / "mine.py").read_text())

    first = load("plugins=[mine.py, mine.py, copy.py]", f"loss.name={plugin}")
    second = load("plugins=[copy.py]", f"loss.name={plugin}")

    assert len(first.plugins) == 1
    assert first.hash == second.hash


def test_a_parents_plugins_stay_when_the_child_has_its_own(load: Load, plugin: str, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "mine.py").rename(folder / "sub" / "mine.py")
    (folder / "sub" / "base.yaml").write_text(
        f"extends: ../toy.yaml\nplugins: [mine.py]\nloss: {{name: {plugin}}}\n"
    )
    (folder / "more.py").write_text("# nothing\n")

    config = load(text="extends: sub/base.yaml\nplugins: [more.py]\n", file="child.yaml")

    assert [entry.path for entry in config.plugins] == [folder / "sub" / "mine.py", folder / "more.py"]
    assert config.loss.name == plugin


def test_the_content_of_a_plugin_enters_the_hash_and_its_path_does_not(load: Load, folder: Path) -> None:
    (folder / "a.py").write_text("# one\n")
    (folder / "b.py").write_text("# two\n")
    (folder / "c.py").write_text("# one\n")

    hashes = [load(f"plugins=[{name}.py]").hash for name in "abc"]

    assert hashes[0] == hashes[2] != hashes[1]
    assert load().hash not in hashes


def test_the_resolved_file_finds_its_plugins_from_another_folder(
    load: Load, plugin: str, folder: Path
) -> None:
    config = load("plugins=[mine.py]", f"loss.name={plugin}")
    (folder / "runs").mkdir()

    assert load(text=config.to_yaml(), file="runs/config.yaml") == config


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "import nothing_of_that_name\n",
            "bad.py:1: ModuleNotFoundError: No module named 'nothing_of_that_name'",
        ),
        ("x = 1\n\ndef f():\n    1 / 0\nf()\n", "bad.py:4: ZeroDivisionError: division by zero"),
        ("x = (\n", "bad.py:1: SyntaxError: '(' was never closed"),
        ("raise SystemExit(3)\n", "bad.py:1: SystemExit: 3"),
        ("\0", f"bad.py: {_NULL_BYTE}: source code string cannot contain null bytes"),
    ],
)
def test_a_plugin_that_fails_is_named_with_line_and_error(
    load: Load, folder: Path, valid: str, content: str, problem: str
) -> None:
    (folder / "bad.py").write_text(content)

    with pytest.raises(ConfigError) as caught:
        load(text=f"plugins:\n  - bad.py\n{valid}".replace("name: center", "name: defined_there"))

    assert caught.value.problems == (f"toy.yaml:2: plugins.0: {problem}",)


def test_a_plugin_that_changed_since_it_was_imported_says_to_restart(
    load: Load, plugin: str, folder: Path
) -> None:
    load("plugins=[mine.py]")
    (folder / "mine.py").write_text((folder / "mine.py").read_text() + "# edited\n")

    with pytest.raises(ConfigError) as caught:
        load("plugins=[mine.py]")

    assert caught.value.problems == (
        f"plugins.0: mine.py:3: ValueError: loss '{plugin}' is already registered; choose another name; "
        "has it changed since this process imported it? Then restart (command line)",
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("mine.py", "plugins: must be a list of Python files, such as [my_losses.py], got 'mine.py'"),
        ("[3]", "plugins.0: must be a Python file, got 3"),
        ("[no.py]", "plugins.0: no.py: cannot be read: No such file or directory"),
        ("[toy.yaml]", "plugins.0: toy.yaml: not a Python file; its name must end in .py"),
    ],
)
def test_plugins_are_a_list_of_python_files(load: Load, value: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"plugins={value}")

    assert caught.value.problems == (f"{problem} (command line)",)
