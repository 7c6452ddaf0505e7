"""`bench check` and `bench schema`."""

from __future__ import annotations

import json

import click

from bench.cli.arguments import split_arguments
from bench.cli.completion import complete_arguments


@click.command(short_help="Check configurations without running them.")
@click.argument(
    "arguments",
    nargs=-1,
    required=True,
    metavar="CONFIG... [key=value ...]",
    shell_complete=complete_arguments,
)
@click.option("--explain", is_flag=True, help="Print every value and where it was set.")
def check(arguments: tuple[str, ...], explain: bool) -> None:
    """Check configurations without running them; all problems at once, each with its file and line."""
    from bench.config import explain as explain_config
    from bench.config import load_config
    from bench.study import is_study, load_study

    sources, overrides = split_arguments(arguments)
    for source in sources:
        if is_study(source):
            study = load_study(source, overrides)
            config = study.base
            searched = len(study.space.paths)
            click.echo(f"{source}: valid study, {searched} searched, {study.settings.trials} trials")
        else:
            config = load_config(source, overrides)
            click.echo(f"{source}: valid, hash {config.hash[:8]}")
        if explain:
            rows = explain_config(config)
            width = max(len(row.path) for row in rows)
            for row in rows:
                click.echo(f"  {row.path:<{width}}  {row.text:<24}  {row.origin}")


@click.command()
def schema() -> None:
    """Print the JSON schema of configurations, for editors.

    \b
    bench schema > bench.schema.json
    then, as the first line of a configuration:
    # yaml-language-server: $schema=bench.schema.json
    """
    from bench.study.schema import file_schema

    click.echo(json.dumps(file_schema(), indent=2))
