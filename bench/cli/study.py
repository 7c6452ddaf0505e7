"""`bench study`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from bench.cli.arguments import split_arguments, workers_option
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.study.conduct import Ended, Launch
    from bench.study.config import StudyConfig
    from bench.study.preflight import Cost


class _StudyGroup(click.Group):
    """`bench study CONFIG ...` runs; `bench study best NAME` and the like are commands of their own."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(context, args)

    def format_usage(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(context.command_path, "CONFIG... [key=value ...] [OPTIONS]")
        formatter.write_usage(context.command_path, "best NAME [OPTIONS]")


@click.group(cls=_StudyGroup, short_help="Search settings by validation figures, with Optuna.")
def study() -> None:
    """Search settings: many runs, whose values Optuna proposes by their validation figures.

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
@workers_option(
    "Trials at a time: one a GPU; without a GPU the CPUs are divided. With --launcher ray: of the cluster."
)
@click.option(
    "--storage", metavar="URL", help="PostgreSQL, for several machines; else a file in runs/studies/."
)
@click.option(
    "--launcher",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where trials run: this machine, or the nodes of a Ray cluster (needs --storage).",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Begin no trial later."
)
@click.option(
    "--enqueue", multiple=True, metavar="CONFIG", help="Try the settings of this configuration first."
)
@click.option(
    "--equal-budget",
    is_flag=True,
    help="Several studies: refuse other than equal trials, images and pruning; then compare their winners.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="With --equal-budget: seeds of the winners' comparison.",
)
def run(
    arguments: tuple[str, ...],
    trials: int | None,
    workers: int | Literal["auto"],
    storage: str | None,
    launcher: Literal["local", "ray"],
    timeout: float | None,
    enqueue: tuple[str, ...],
    equal_budget: bool,
    seeds: int,
) -> None:
    """Run studies, one after the other, or continue them."""
    from bench.study import load_study
    from bench.study.preflight import preflight, refuse_unequal_budgets

    sources, overrides = split_arguments(arguments)
    if trials is not None:
        overrides.append(f"study.trials={trials}")
    studies = [load_study(source, overrides) for source in sources]
    _refuse_equal_names(studies)
    _refuse_launcher(launcher, storage, studies)
    costs = [preflight(config) for config in studies]
    if equal_budget:
        refuse_unequal_budgets(list(zip(studies, costs, strict=True)))
    ended = [_run_one(config, workers, storage, launcher, timeout, enqueue) for config in studies]
    if equal_budget and all(one.is_complete for one in ended):
        _compare(studies, costs, storage, seeds, workers)


def _refuse_equal_names(studies: Sequence[StudyConfig]) -> None:
    names = [config.name for config in studies]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two of the studies are called '{name}'; a study is known by its name")


def _refuse_launcher(
    launcher: Literal["local", "ray"], storage: str | None, studies: Sequence[StudyConfig]
) -> None:
    if launcher == "ray":
        if storage is None:
            raise UserError(
                "--launcher ray: needs --storage postgresql+psycopg://user:password@host:port/database, "
                "which all nodes reach; a journal is for one machine"
            )
        return
    for config in studies:
        for option in ("gpus_per_trial", "cpus_per_trial"):
            if getattr(config.settings, option) is not None:
                raise UserError(
                    f"study.{option}: is for --launcher ray; on this machine a trial takes one GPU, or its "
                    "share of the CPUs: leave it out"
                )


def _compare(
    studies: Sequence[StudyConfig],
    costs: Sequence[Cost],
    storage: str | None,
    seeds: int,
    workers: int | Literal["auto"],
) -> None:
    """The winners over several seeds, by the test."""
    from bench.cli.run import run_all
    from bench.results import write_text
    from bench.study.best import best_config
    from bench.study.folder import study_path

    winners = []
    for config, cost in zip(studies, costs, strict=True):
        runs = Path(config.base.runtime.runs)
        path = study_path(runs, config.name) / f"{config.name}-best.yaml"
        write_text(path, best_config(config.name, runs, storage, None))
        winners.append(str(path))
        click.echo(
            f"{config.name}: {config.settings.trials} trials of {cost.images:,} images; winner: {path}"
        )
    run_all(winners, [], seeds, workers, resume=True, again=False)


def _run_one(
    config: StudyConfig,
    workers: int | Literal["auto"],
    storage: str | None,
    launcher: Literal["local", "ray"],
    timeout_s: float | None,
    enqueue: Sequence[str],
) -> Ended:
    from bench.cli.board import open_board
    from bench.config import load_config
    from bench.study.conduct import run_study
    from bench.study.folder import study_path
    from bench.study.storage import open_place

    folder = study_path(Path(config.base.runtime.runs), config.name)
    points: list[tuple[str, Any]] = [(source, config.chosen_by(load_config(source))) for source in enqueue]
    with (
        open_board() as board,
        _launch(config, workers, storage, launcher, timeout_s) as launch,
        open_place(storage, folder, board.note, heartbeat_s=config.settings.heartbeat_s) as place,
    ):
        ended = run_study(config, place, launch, board, enqueue=points)
    counts = ended.counts
    click.echo(
        f"{config.name}: {counts.finished} trials finished ({counts.pruned} of them pruned), "
        f"{counts.failed} failed"
    )
    if not ended.is_complete:
        click.echo(f"{config.settings.trials - counts.finished} are left; the same command continues")
    click.echo(f"report and figures: {folder}/report.md")
    if counts.complete and len(config.objectives) == 1:
        click.echo(f"the winner's settings: bench study best {config.name} > best.yaml")
    return ended


@contextmanager
def _launch(
    config: StudyConfig,
    workers: int | Literal["auto"],
    storage: str | None,
    launcher: Literal["local", "ray"],
    timeout_s: float | None,
) -> Iterator[Launch]:
    if launcher == "local":
        from bench.pool import choose_slots
        from bench.study.conduct import on_this_machine

        yield on_this_machine(choose_slots(workers, config.settings.trials), timeout_s)
        return
    from bench.study.launch_ray import join_cluster, on_cluster

    assert storage is not None  # `_refuse_launcher` has seen to it
    with join_cluster() as cluster:
        yield on_cluster(cluster, config.settings, storage, workers, timeout_s)


@study.command("best", short_help="Print the winner as a configuration.")
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
