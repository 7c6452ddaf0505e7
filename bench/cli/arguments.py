"""What the commands' arguments have in common."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import click

from bench.errors import UserError

if TYPE_CHECKING:
    from pydantic import JsonValue

_OVERRIDE = re.compile(r"[A-Za-z_][\w.\-]*=")


Workers: TypeAlias = "int | Literal['auto']"

_Command = TypeVar("_Command", bound=Callable[..., Any])


def workers_option(text: str) -> Callable[[_Command], _Command]:
    """`--workers auto|N`, as the commands with a pool have it."""
    return click.option(
        "--workers", callback=_workers, metavar="auto|N", default="1", show_default=True, help=text
    )


def _workers(context: click.Context, parameter: click.Parameter, value: str) -> Workers:
    if value == "auto":
        return "auto"
    if value.isdigit() and int(value) > 0:
        return int(value)
    raise click.BadParameter(f"{value!r} is neither 'auto' nor a positive number")


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Configurations and `key=value` overrides, in any order.

    Raises:
        UserError: no configuration among them; or something with a `=` that is no setting.
    """
    for argument in arguments:
        # a file's name may hold a '='; os.path, because pathlib raises for what is too long to be one
        is_file = argument.endswith(".yaml") or os.path.exists(argument)  # noqa: PTH110
        if "=" in argument and not is_file and not _OVERRIDE.match(argument):
            raise UserError(
                f"'{argument[:60]}': neither a file nor a setting; write path=value, such as loss.margin=0.3"
            )
    overrides = [argument for argument in arguments if _OVERRIDE.match(argument)]
    configs = [argument for argument in arguments if not _OVERRIDE.match(argument)]
    if not configs:
        raise UserError(
            "name a configuration, e.g. 'bench run center'; 'bench list configs' shows the shipped ones"
        )
    return configs, overrides


def write_json_to(target: str, document: JsonValue) -> None:
    """Write indented JSON to a file, or to standard output when the target is `-`.

    Raises:
        UserError: the file cannot be written.
    """
    from bench.results import write_json

    if target == "-":
        click.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    try:
        write_json(Path(target), document)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error})") from None
