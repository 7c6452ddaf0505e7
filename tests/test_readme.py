"""What README says is tried: its configurations load, its messages are real, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.cli import bench
from bench.config import load_config
from bench.config.variants import read_comparison
from bench.errors import ConfigError
from reports.readme import updated

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def block(language: str, start: str) -> str:
    for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL):
        if text.startswith(start):
            return str(text)
    raise AssertionError(f"README has no {language} block that begins with {start!r}")


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(block("yaml", "# my.yaml"))
    assert load_config(tmp_path / "my.yaml").loss.name == "triplet"


def test_the_loss_of_ones_own_is_one_file_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ring.py").write_text(block("python", "# ring.py"))
    Path("ring.yaml").write_text(block("yaml", "plugins: [ring.py]"))
    config = load_config("ring.yaml")
    assert (config.loss.name, config.loss.options["radius"]) == ("ring", 2.0)


def test_the_messages_are_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = block("yaml", "# my.yaml").replace("mining", "minning").replace("epochs: 6", "epochs: yes")
    Path("my.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config("my.yaml")
    assert str(caught.value) == block("text", "my.yaml:3").strip()


def test_every_command_in_the_table_exists() -> None:
    commands = re.findall(r"^\| `bench ([a-z]+)(?: ([a-z]+))?", README, re.MULTILINE)
    assert len(commands) >= 6
    for name, sub in commands:
        command = bench.commands[name]
        if name in ("data", "track"):
            assert sub in command.commands  # type: ignore[attr-defined]


def test_every_shipped_configuration_is_valid() -> None:
    configs = Path(__file__).resolve().parents[1] / "configs"
    for path in sorted(configs.glob("*.yaml")):
        config = load_config(path)
        assert config.name == path.stem
        assert config.description


def test_tables_that_come_from_records_are_up_to_date() -> None:
    root = Path(__file__).resolve().parents[1]
    for document in (root / "README.md", *sorted((root / "docs").rglob("*.md"))):
        text = document.read_text()
        assert updated(text, document.parent)[0] == text, f"run: bench report --readme {document.name}"


@pytest.mark.parametrize("name", ["reading_figures", "tutorial"])
def test_every_command_in_the_guides_exists_with_its_options(name: str) -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / f"{name}.md").read_text()
    commands = re.findall(r"^bench ([a-z]+)(.*?)(?:#.*)?$", text, re.MULTILINE)
    assert len(commands) >= 4
    for command, rest in commands:
        known = {option for parameter in bench.commands[command].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known


def test_the_tutorials_comparison_is_valid(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "tutorial.md").read_text()
    (example,) = re.findall(r"```yaml\n(# margins.yaml.*?)```", text, re.DOTALL)
    (tmp_path / "margins.yaml").write_text(example)
    found = read_comparison(str(tmp_path / "margins.yaml"))
    assert found is not None
    for changes in found.variants.values():
        load_config(found.base, changes)
