"""`bench run`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from bench.cli.arguments import Workers, split_arguments, workers_option
from bench.cli.completion import complete_arguments
from bench.cli.launch import launched_rank, relaunch
from bench.cli.running import do_runs, plan


@click.command()
@click.argument(
    "arguments",
    nargs=-1,
    required=True,
    metavar="CONFIG... [key=value ...]",
    shell_complete=complete_arguments,
)
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Run every CONFIG with this many seeds: seed, seed+1, ..."
)
@workers_option("Runs at a time: one a GPU; without a GPU the CPUs are divided.")
@click.option("--gpus", type=click.IntRange(min=1), help="Train each run on so many GPUs of this machine.")
@click.option("--resume", is_flag=True, help="Continue interrupted runs from their last checkpoint.")
@click.option("--again", is_flag=True, help="Train finished and interrupted runs anew.")
@click.option(
    "--profile", is_flag=True, help="Trace a few steps of a run (trace.json) and show where its time goes."
)
def run(
    arguments: tuple[str, ...],
    seeds: int | None,
    workers: Workers,
    gpus: int | None,
    resume: bool,
    again: bool,
    profile: bool,
) -> None:
    """Train, evaluate and track one or more configurations.

    CONFIG is a file, or the name of a shipped configuration; key=value overrides single settings in all of
    them. A run (settings, seed, data) that has finished before is not trained again: its figures are shown.

    \b
    bench run configs/center.yaml
    bench run center loss.factor=0.1 train.epochs=5
    bench run softmax center triplet --seeds 3 --workers auto
    bench run facenet/softmax --gpus 8
    torchrun --nproc-per-node 8 -m bench run facenet/softmax
    """
    sources, overrides = split_arguments(arguments)
    if gpus is not None:
        relaunch(gpus)
    run_all(sources, overrides, seeds, workers, resume=resume, again=again, profile=profile)


def run_all(
    sources: Sequence[str],
    overrides: Sequence[str],
    seeds: int | None,
    workers: Workers,
    *,
    resume: bool,
    again: bool,
    profile: bool = False,
) -> None:
    """Do what `bench run` does: every configuration with every seed, then the table.

    Raises:
        SystemExit: runs have failed.
    """
    planned = [each for source in sources for each in plan(source, overrides, seeds)]
    records, failures = do_runs(planned, workers, resume=resume, again=again, profile=profile)
    from bench.cli.summary import print_profile, print_summary

    if records and launched_rank() == 0:
        print_summary(records, [each.config for each in planned])
        if profile:
            print_profile(records[0], planned[0].config)
    for outcome in failures:
        click.echo(f"{outcome.job.title}: {outcome.error}", err=True)
    if failures:
        raise SystemExit(max(outcome.exit_code for outcome in failures))
