"""`bench check` and `bench schema`."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING

import click

from bench.cli.arguments import split_arguments
from bench.cli.compare import planned_comparison
from bench.cli.completion import complete_arguments
from bench.cli.counting import counted

if TYPE_CHECKING:
    from bench.config import RunConfig


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
    """Check configurations without running them; all problems at once, each with its file and line.

    CONFIG is of a run, of a study, or a comparison with its variants.
    """
    from bench.config import load_config
    from bench.config.variants import read_comparison
    from bench.study import is_study, load_study

    sources, overrides = split_arguments(arguments)
    for source in sources:
        if comparison := read_comparison(source):
            planned = planned_comparison(comparison, overrides, None)
            configs = list({each.config.hash: each.config for each in planned}.values())
            seeds = counted(comparison.seeds, "seed")
            variants = counted(len(configs) - 1, "variant")
            click.echo(f"{source}: valid comparison, {variants} of {comparison.base}, {seeds}")
            if explain:
                _explain_variants(configs)
            continue
        if is_study(source):
            study = load_study(source, overrides)
            config = study.base
            searched = len(study.space.paths)
            click.echo(f"{source}: valid study, {searched} searched, {study.settings.trials} trials")
        else:
            config = load_config(source, overrides)
            click.echo(f"{source}: valid, hash {config.hash[:8]}")
        if explain:
            _explain(config)


def _explain(config: RunConfig, left_out: Collection[tuple[str, str]] = ()) -> None:
    from bench.config import explain

    rows = [row for row in explain(config) if (row.path, row.text) not in left_out]
    width = max(len(row.path) for row in rows)
    for row in rows:
        click.echo(f"  {row.path:<{width}}  {row.text:<24}  {row.origin}")


def _explain_variants(configs: list[RunConfig]) -> None:
    """All of the base, then what is different in each variant."""
    from bench.config import explain

    base = {(row.path, row.text) for row in explain(configs[0])}
    for number, config in enumerate(configs):
        click.echo(f" {config.name}:")
        _explain(config, base if number else ())


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
