"""`bench study`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from bench.cli.arguments import split_arguments, workers_option

if TYPE_CHECKING:
    from bench.study.config import StudyConfig


class _StudyGroup(click.Group):
    """`bench study CONFIG ...` runs; `bench study best NAME` and the like are commands of their own."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(context, args)

    def format_usage(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(context.command_path, "CONFIG... [key=value ...] [OPTIONS]")
        formatter.write_usage(context.command_path, "best NAME [OPTIONS]")


@click.group(cls=_StudyGroup)
def study() -> None:
    r"""Search settings: many runs, whose values Optuna proposes by their validation figures.

    CONFIG is a configuration with 'search' and 'objective' sections. The same command continues a study that
    was stopped or killed.

    \b
    bench study studies/triplet --workers auto
    bench study my_study.yaml study.trials=40 sampler.name=random
    bench study best triplet > best.yaml; bench run best.yaml --seeds 3
    bench study run --help               all options
    """


@study.command("run")
@click.argument("arguments", nargs=-1, required=True, metavar="CONFIG... [key=value ...]")
@click.option("--trials", type=click.IntRange(min=1), help="Finished trials wanted; as study.trials=N.")
@workers_option("Trials at a time: one a GPU; without a GPU the CPUs are divided.")
@click.option(
    "--storage", metavar="URL", help="PostgreSQL, for several machines; else a file in runs/studies/."
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Begin no trial later."
)
@click.option(
    "--enqueue", multiple=True, metavar="CONFIG", help="Try the settings of this configuration first."
)
def run(
    arguments: tuple[str, ...],
    trials: int | None,
    workers: int | Literal["auto"],
    storage: str | None,
    timeout: float | None,
    enqueue: tuple[str, ...],
) -> None:
    """Run a study, or continue it."""
    from bench.study import load_study

    sources, overrides = split_arguments(arguments)
    if trials is not None:
        overrides.append(f"study.trials={trials}")
    for config in [load_study(source, overrides) for source in sources]:
        _run_one(config, workers, storage, timeout, enqueue)


def _run_one(
    config: StudyConfig,
    workers: int | Literal["auto"],
    storage: str | None,
    timeout_s: float | None,
    enqueue: Sequence[str],
) -> None:
    from bench.cli.board import open_board
    from bench.config import load_config
    from bench.pool import choose_slots
    from bench.study.conduct import run_study
    from bench.study.folder import study_path
    from bench.study.storage import open_place

    folder = study_path(Path(config.base.runtime.runs), config.name)
    slots = choose_slots(workers, config.settings.trials)
    points: list[tuple[str, Any]] = [(source, config.chosen_by(load_config(source))) for source in enqueue]
    with (
        open_board() as board,
        open_place(storage, folder, board.note, heartbeat_s=config.settings.heartbeat_s) as place,
    ):
        ended = run_study(config, place, slots, board, timeout_s=timeout_s, enqueue=points)
    counts = ended.counts
    click.echo(
        f"{config.name}: {counts.finished} trials finished ({counts.pruned} of them pruned), {counts.failed} failed"
    )
    if not ended.is_complete:
        click.echo(f"{config.settings.trials - counts.finished} are left; the same command continues")
    click.echo(f"report and figures: {folder}/report.md")
    if counts.complete and len(config.objectives) == 1:
        click.echo(f"the winner's settings: bench study best {config.name} > best.yaml")


@study.command("best")
@click.argument("name")
@click.option("--storage", metavar="URL", help="Where the study is, if not in runs/studies/.")
@click.option("--runs", default="runs", show_default=True, help="Folder of the run folders.")
@click.option(
    "--trial", type=click.IntRange(min=0), help="This trial instead of the best (of a Pareto front)."
)
def best(name: str, storage: str | None, runs: str, trial: int | None) -> None:
    """Print the winner as a configuration: 'bench run' on it repeats the trial exactly."""
    from bench.study.best import best_config

    click.echo(best_config(name, Path(runs), storage, trial), nl=False)
