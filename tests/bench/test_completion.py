"""Tests of shell completion: what a tab offers, and what it costs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.option_names import option_names

from .conftest import Bench


def tab(*words: str, env: dict[str, str] | None = None) -> list[str]:
    """What is offered for the last word, through click's own protocol for bash, in a fresh process."""
    variables = {
        **os.environ,
        **(env or {}),
        "_BENCH_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["bench", *words]),
        "COMP_CWORD": str(len(words)),
    }
    program = (
        "import sys\nfrom bench.cli import main\ntry:\n    main()\nfinally:\n"
        "    print([name for name in ('torch', 'mlflow', 'numpy') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True)
    tab.heavy = done.stderr.strip().splitlines()[-1]  # type: ignore[attr-defined]
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line.startswith("plain,")]


def heavy() -> str:
    return str(tab.heavy)  # type: ignore[attr-defined]


def test_commands_and_kinds_are_completed_without_torch(workspace: Path) -> None:
    assert tab("do") == ["doctor"]
    assert tab("list", "back") == ["backbones"]
    assert heavy() == "[]"


def test_shipped_configurations_are_completed_without_torch(workspace: Path) -> None:
    assert tab("run", "sof") == ["softmax"]
    assert heavy() == "[]"
    assert tab("check", "soft") == ["softmax"]


def test_sections_are_offered_once_a_configuration_is_named(workspace: Path) -> None:
    assert tab("run", "center", "lo") == ["loss."]
    assert tab("run", "lo") == []


def test_settings_of_fixed_sections_are_completed_without_torch(workspace: Path) -> None:
    assert tab("run", "center", "train.ep") == ["train.epochs=", "train.epoch_size="]
    assert tab("run", "center", "init.fr") == ["init.from=", "init.freeze=", "init.freeze_epochs="]
    assert heavy() == "[]"


def test_options_of_the_loss_are_those_of_the_one_in_use(workspace: Path) -> None:
    cold = {"BENCH_CACHE": str(workspace / "cache")}
    assert tab("run", "tiny.yaml", "loss.al", env=cold) == ["loss.alfa="]
    assert heavy() != "[]"  # somebody has to ask the code once
    assert tab("run", "tiny.yaml", "loss.al", env=cold) == ["loss.alfa="]
    assert heavy() == "[]"
    assert tab("run", "tiny.yaml", "loss.name=triplet", "loss.al", env=cold) == ["loss.alpha="]


def test_a_configuration_that_cannot_be_read_leaves_the_name(workspace: Path) -> None:
    Path("broken.yaml").write_text("loss: [")
    assert tab("run", "broken.yaml", "loss.") == ["loss.name="]


def test_option_names_are_those_of_the_registries(workspace: Path) -> None:
    from bench.config.components import COMPONENTS

    for _ in range(2):  # from the code, then from the cache
        assert option_names()["loss"]["triplet"] == list(COMPONENTS["loss"].options("triplet"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_it_can_read(bench_command: Bench, shell: str, tmp_path: Path) -> None:
    ended = bench_command("completion", shell)
    assert ended.code == 0
    assert "_BENCH_COMPLETE" in ended.out
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    (tmp_path / "script").write_text(ended.out)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_bash_puts_no_space_behind_an_equals_sign(
    workspace: Path, bench_command: Bench, tmp_path: Path
) -> None:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    (tmp_path / "script").write_text(bench_command("completion", "bash").out)
    bench = tmp_path / "bin" / "bench"
    bench.parent.mkdir()
    bench.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bench "$@"\n')
    bench.chmod(0o755)
    program = (
        f'PATH="{bench.parent}:$PATH"; . {tmp_path / "script"}\n'
        'compopt() { echo "compopt $1 $2"; }\n'
        "COMP_WORDS=(bench run center train.epochs); COMP_CWORD=3\n"
        '_bench_completion bench; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["compopt -o nospace", "train.epochs="]
