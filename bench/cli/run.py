"""`bench run`."""

from __future__ import annotations

import click

from bench.cli.arguments import split_arguments
from bench.cli.running import Workers, do_runs, plan, workers_option


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="CONFIG... [key=value ...]")
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Run every CONFIG with this many seeds: seed, seed+1, ..."
)
@click.option(
    "--workers",
    callback=workers_option,
    metavar="auto|N",
    default="1",
    show_default=True,
    help="Runs at a time: one a GPU; without a GPU the CPUs are divided.",
)
@click.option("--resume", is_flag=True, help="Continue interrupted runs from their last checkpoint.")
@click.option("--again", is_flag=True, help="Train finished and interrupted runs anew.")
def run(arguments: tuple[str, ...], seeds: int | None, workers: Workers, resume: bool, again: bool) -> None:
    """Train, evaluate and track one or more configurations.

    CONFIG is a file, or the name of a shipped configuration; key=value overrides single settings in all of
    them. A run (settings, seed, data) that has finished before is not trained again: its figures are shown.

    \b
    bench run configs/center.yaml
    bench run center loss.factor=0.1 train.epochs=5
    bench run softmax center triplet --seeds 3 --workers auto
    """
    sources, overrides = split_arguments(arguments)
    planned = [each for source in sources for each in plan(source, overrides, seeds)]
    records, failures = do_runs(planned, workers, resume=resume, again=again)
    from bench.cli.summary import print_summary

    if records:
        print_summary(records, [each.config for each in planned])
    for outcome in failures:
        click.echo(f"{outcome.job.title}: {outcome.error}", err=True)
    if failures:
        raise SystemExit(max(outcome.exit_code for outcome in failures))
