"""What README says is tried: its configurations load, its messages are real, its commands exist."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import click
import pytest

from bench.cli import bench
from bench.config import load_config
from bench.config.variants import read_comparison
from bench.errors import ConfigError
from reports.readme import updated

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def block(language: str, start: str) -> str:
    for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL):
        if text.startswith(start):
            return str(text)
    raise AssertionError(f"README has no {language} block that begins with {start!r}")


def commands_of(group: click.Group, before: str = "") -> dict[str, click.Command]:
    """`data pack` -> the command, for all that do something themselves."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands_of(command, f"{before}{name} ")
        else:
            found[f"{before}{name}"] = command
    return found


def in_blocks(text: str) -> list[list[str]]:
    """The words after `bench` of every command in a document's shell blocks."""
    blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    found = []
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.commenters = "#"
        words.whitespace_split = True
        for is_end, command in itertools.groupby(words, key=lambda word: set(word) <= set("();<>|&")):
            typed = list(command)
            place = next((at for at, word in enumerate(typed) if re.fullmatch(r"(.*/)?bench", word)), None)
            if not is_end and place is not None:
                found.append(typed[place + 1 :])
    return found


def in_sentences(text: str) -> list[list[str]]:
    """The same of commands in the text, where `N` is a number and brackets hold what may be left out."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [
        shlex.split(re.sub(r"\bN\b", "1", re.sub(r"[][]", "", command)))
        for command in re.findall(r"`bench ([a-z][^`]*)`", text)
    ]


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


def test_every_command_is_in_the_table() -> None:
    rows = re.findall(r"^\| `bench ([^`]+)`", README, re.MULTILINE)
    missing = [
        name for name in commands_of(bench) if not any(f"{row} ".startswith(f"{name} ") for row in rows)
    ]
    assert missing == ["study run", "study best"]  # what `bench study` stands for


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_of_a_document_is_one_that_bench_takes(
    document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands, options and their values are parsed as typed; only what a command does is left out."""
    called: list[str] = []
    expected = 0
    for name, command in commands_of(bench).items():
        monkeypatch.setattr(command, "callback", lambda name=name, **_: called.append(name))
    lines = [*in_blocks(document.read_text()), *in_sentences(document.read_text())]
    for words in lines:
        if " ".join(words) in commands_of(bench) or words == ["study"]:
            continue  # the text speaks of a command
        try:
            bench.main(words, prog_name="bench", standalone_mode=False)
            expected += 1
        except click.UsageError as error:
            pytest.fail(f"{document.name}: bench {shlex.join(words)}: {error.format_message()}")
    assert len(called) == expected


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_says_to_run_is_shipped_and_its_settings_exist(document: Path) -> None:
    for command, *words in in_blocks(document.read_text()):
        if command not in ("run", "compare", "check") or any(word.endswith(".yaml") for word in words):
            continue  # a reader's own file
        names = itertools.takewhile(lambda word: not word.startswith("-") and "=" not in word, words)
        for name in names:
            load_config(name, [word for word in words if re.match(r"[a-z_.]+=", word)])


def test_the_checks_of_documents_see_mistakes() -> None:
    text = "```bash\nbench run center --sedes 3   # three\nFACELOSS_DATA=x bench list losses > a.txt\n```\n"
    assert in_blocks(text) == [["run", "center", "--sedes", "3"], ["list", "losses"]]
    assert in_sentences("`bench compare CONFIG... --seeds N`, `benchmark`") == [
        ["compare", "CONFIG...", "--seeds", "1"]
    ]


def test_summaries_of_commands_are_whole_sentences() -> None:
    for command in (bench, *(each for each in bench.commands.values() if isinstance(each, click.Group))):
        with click.Context(command, max_content_width=80, terminal_width=80) as context:
            for name in command.list_commands(context):
                summary = command.commands[name].get_short_help_str(limit=80 - 6 - 10)
                assert not summary.endswith("..."), f"{command.name} {name}: {summary}"


def test_the_tutorials_comparison_is_valid(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "tutorial.md").read_text()
    (example,) = re.findall(r"```yaml\n(# margins.yaml.*?)```", text, re.DOTALL)
    (tmp_path / "margins.yaml").write_text(example)
    found = read_comparison(str(tmp_path / "margins.yaml"))
    assert found is not None
    for changes in found.variants.values():
        load_config(found.base, changes)
