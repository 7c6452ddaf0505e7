"""`bench run`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bench.cli.arguments import split_arguments
from bench.cli.completion import complete_arguments
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.pool import Job, Outcome
    from bench.results import RunRecord


def _workers(context: click.Context, parameter: click.Parameter, value: str) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if value.isdigit() and int(value) > 0:
        return int(value)
    raise click.BadParameter(f"{value!r} is neither 'auto' nor a positive number")


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
@click.option(
    "--workers",
    callback=_workers,
    metavar="auto|N",
    default="1",
    show_default=True,
    help="Runs at a time: one a GPU; without a GPU the CPUs are divided.",
)
@click.option("--resume", is_flag=True, help="Continue interrupted runs from their last checkpoint.")
@click.option("--again", is_flag=True, help="Train finished and interrupted runs anew.")
def run(
    arguments: tuple[str, ...], seeds: int | None, workers: int | Literal["auto"], resume: bool, again: bool
) -> None:
    r"""Train, evaluate and track one or more configurations.

    CONFIG is a file, or the name of a shipped configuration; key=value overrides single settings in all of
    them. A run (settings, seed, data) that has finished before is not trained again: its figures are shown.

    \b
    bench run configs/center.yaml
    bench run center loss.factor=0.1 train.epochs=5
    bench run softmax center triplet --seeds 3 --workers auto
    """
    sources, overrides = split_arguments(arguments)
    jobs = [(source, config) for source in sources for config in _with_seeds(source, overrides, seeds)]
    failures: list[Outcome] = []
    if len(jobs) == 1 and workers == 1:
        records = [_run_here(jobs[0][1], resume=resume, again=again)]
    else:
        records, failures = _run_in_pool(jobs, overrides, workers, resume=resume, again=again)
    from bench.cli.summary import print_summary

    if records:
        print_summary(records, [config for _, config in jobs])
    for outcome in failures:
        click.echo(f"{outcome.job.title}: {outcome.error}", err=True)
    if failures:
        raise SystemExit(max(outcome.exit_code for outcome in failures))


def _with_seeds(source: str, overrides: list[str], seeds: int | None) -> list[RunConfig]:
    from bench.config import load_config

    first = load_config(source, overrides)
    if seeds is None:
        return [first]
    return [load_config(source, [*overrides, f"seed={first.seed + step}"]) for step in range(seeds)]


def _run_here(config: RunConfig, *, resume: bool, again: bool) -> RunRecord:
    from bench.cli.board import open_board
    from bench.engine import run as run_one

    with open_board() as board:
        return run_one(config, resume=resume, again=again, progress=board.row(_title(config)))


def _run_in_pool(
    jobs: list[tuple[str, RunConfig]],
    overrides: list[str],
    workers: int | Literal["auto"],
    *,
    resume: bool,
    again: bool,
) -> tuple[list[RunRecord], list[Outcome]]:
    from bench import tracking
    from bench.cli.board import open_board
    from bench.engine import run_path, tracking_settings
    from bench.pool import Job, choose_slots, run_jobs
    from bench.results import RunFolder

    todo: dict[Path, tuple[Job, RunConfig]] = {}
    for source, config in jobs:
        folder = run_path(config)
        job = Job(source, (*overrides, f"seed={config.seed}"), _title(config), config.hash, folder)
        if folder in todo:
            raise UserError(f"{source}: is the same run as {todo[folder][0].source} (settings and seed)")
        todo[folder] = (job, config)
    configs = {folder: config for folder, (_, config) in todo.items()}
    with ExitStack() as stack:
        board = stack.enter_context(open_board())
        deliverers: dict[tracking.TrackingSettings, tracking.Deliverer] = {}
        for config in configs.values():
            settings = tracking_settings(config)
            if config.tracking.enabled and settings not in deliverers:
                deliverer = tracking.Deliverer(
                    tracking.prepare(settings, report=board.note), report=board.note
                )
                deliverers[settings] = stack.enter_context(deliverer)

        def on_start(job: Job) -> None:
            settings = tracking_settings(configs[job.folder])
            if settings in deliverers:
                deliverers[settings].watch(RunFolder(job.folder))

        outcomes = run_jobs(
            [job for job, _ in todo.values()],
            choose_slots(workers, len(todo)),
            lambda job: board.row(job.title),
            resume=resume,
            again=again,
            on_start=on_start,
            on_end=lambda outcome: board.done(outcome.job.title, outcome.error),
        )
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    return records, [outcome for outcome in outcomes if outcome.error is not None]


def _title(config: RunConfig) -> str:
    return f"{config.name} s{config.seed}"
