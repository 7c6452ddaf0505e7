"""`bench completion`, and what the shell is told while somebody types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    from bench.config.yaml_file import Node

_HOW = {
    "bash": 'eval "$(bench completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(bench completion zsh)" in ~/.zshrc',
    "fish": "bench completion fish > ~/.config/fish/completions/bench.fish",
}


@click.command(
    short_help="Print the script that completes commands in a shell.",
    epilog="  ".join(f"{shell}: {how}." for shell, how in _HOW.items()),
)
@click.argument("shell", type=click.Choice(sorted(_HOW)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, configurations and settings in a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(context.find_root().command, {}, "bench", "_BENCH_COMPLETE").source()
    if shell == "bash":
        script = _without_space_after_equals(script)
    click.echo(script)


def _without_space_after_equals(script: str) -> str:
    """Bash puts a space behind each completion; a value follows `loss.alpha=` at once."""
    return script.replace(
        "COMPREPLY+=($value)", "[[ $value == *= ]] && compopt -o nospace; COMPREPLY+=($value)"
    )


def complete_arguments(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Shipped configurations, files, and settings (`loss.alpha=`) of the configuration named so far."""
    from bench.config.sections import COMPONENT_SECTIONS, STATIC_SECTIONS

    section, dot, _ = incomplete.partition(".")
    if dot and section in STATIC_SECTIONS:
        fields = STATIC_SECTIONS[section].model_fields.items()
        return _starting(incomplete, (f"{section}.{field.alias or name}=" for name, field in fields))
    given: Sequence[str] = [*(context.params.get(parameter.name or "") or ())]
    if dot and section in COMPONENT_SECTIONS:
        return _starting(incomplete, _component_paths(section, given))
    from bench.config.shipped import config_names

    named = [argument for argument in given if "=" not in argument]
    sections = [f"{name}." for name in (*COMPONENT_SECTIONS, *STATIC_SECTIONS)] if named else []
    words = _starting(incomplete, [*config_names(), *sections])
    return [*words, CompletionItem(incomplete, type="file")]


def _component_paths(section: str, given: Sequence[str]) -> Iterable[str]:
    from bench.cli.option_names import option_names

    name = _component_name(section, given)
    known = option_names()[section]
    return [f"{section}.{option}=" for option in ("name", *known.get(name or "", ()))]


def _component_name(section: str, given: Sequence[str]) -> str | None:
    """Which loss, say, the configuration on the command line has; None when that cannot be told."""
    from bench.config.layers import override, read_layers
    from bench.config.shipped import find_config
    from bench.config.yaml_file import child
    from bench.errors import BenchError

    overrides = [argument for argument in given if re.match(r"[A-Za-z_][\w.\-]*=", argument)]
    for source in (argument for argument in given if argument not in overrides):
        try:
            tree: Node = override(read_layers(find_config(source)), overrides)
        except BenchError:
            continue  # a file half written is no reason to be loud at every tab
        component = child(tree, section)
        name: Any = child(component, "name") if component is not None else None
        if name is not None and isinstance(name.value, str):
            return name.value
    return None


def _starting(incomplete: str, words: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]
