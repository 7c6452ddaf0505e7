"""Runs for several commands: configurations and seeds to plans, plans to records, here or in the pool."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import Workers
from bench.cli.launch import is_launched, launched_rank
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.pool import Job, Outcome
    from bench.results import RunRecord


@dataclass(frozen=True)
class Planned:
    """A run to do.

    Args:
        source: path or name of the configuration.
        overrides: `key=value` of the command line.
        config: what both come to, with the run's own seed.
    """

    source: str
    overrides: tuple[str, ...]
    config: RunConfig

    @property
    def title(self) -> str:
        """What people see: `center s0`."""
        return f"{self.config.name} s{self.config.seed}"


def plan(source: str, overrides: Sequence[str], seeds: int | None) -> list[Planned]:
    """The runs of one configuration.

    Args:
        source: path or name.
        overrides: `key=value`.
        seeds: how many, from the configuration's seed upwards; None: its own alone.

    Raises:
        UserError: the configuration is not valid.
    """
    from bench.config import load_config

    first = load_config(source, overrides)
    configs = [first]
    if seeds is not None:
        configs = [load_config(source, [*overrides, f"seed={first.seed + step}"]) for step in range(seeds)]
    return [Planned(source, tuple(overrides), config) for config in configs]


def unfinished(planned: Sequence[Planned]) -> list[Planned]:
    """Those that have not finished yet. Each data set is opened once, and no process begun for the others.

    Raises:
        UserError: two of them are one run; a finished one is of other data than its configuration now means.
    """
    import json

    from bench.data import DATASETS, Data, cache_folder
    from bench.engine import finished_record, run_path
    from bench.results import RunFolder

    _refuse_twins(planned)
    opened: dict[str, Data] = {}

    def is_finished(config: RunConfig) -> bool:
        folder = RunFolder(run_path(config))
        record = folder.record()
        if record is None or record.state != "FINISHED":
            return False
        key = json.dumps(config.tree()["data"], sort_keys=True)
        if key not in opened:
            opened[key] = DATASETS.build(config.data.name, {"cache": cache_folder()}, config.data.options)
        return finished_record(folder, opened[key]) is not None

    return [each for each in planned if not is_finished(each.config)]


def do_runs(
    planned: Sequence[Planned],
    workers: Workers,
    *,
    resume: bool,
    again: bool,
    profile: bool = False,
    keeps_going: bool = False,
) -> tuple[list[RunRecord], list[Outcome]]:
    """Do what is not done yet: a single run here, several in the pool, or one after the other under torchrun.

    Args:
        planned: what to do.
        workers: at a time.
        resume: continue interrupted runs.
        again: train finished and interrupted ones anew.
        profile: trace the only run.
        keeps_going: a run that fails is among the outcomes, also when it is the only one.

    Returns:
        The records, and how those that failed have ended.

    Raises:
        UserError: two of them are one run, or it cannot start.
        BenchError: the only run has failed.
        Killed: a signal came.
    """
    if profile and (len(planned) > 1 or workers != 1):
        raise UserError("--profile: looks at one run; name one CONFIG, without --seeds and --workers")
    if is_launched():
        # every process passes here: all of them train each run
        return [_run_here(each, resume=resume, again=again, profile=profile) for each in planned], []
    if not planned:
        return [], []
    if len(planned) == 1 and workers == 1 and not keeps_going:
        return [_run_here(planned[0], resume=resume, again=again, profile=profile)], []
    return _run_in_pool(planned, workers, resume=resume, again=again)


def _refuse_twins(planned: Sequence[Planned]) -> None:
    from bench.engine import run_path

    sources: dict[Path, str] = {}
    for each in planned:
        folder = run_path(each.config)
        if folder in sources:
            raise UserError(f"{each.source}: is the same run as {sources[folder]} (settings and seed)")
        sources[folder] = each.source


def _run_here(planned: Planned, *, resume: bool, again: bool, profile: bool) -> RunRecord:
    from bench.cli.board import open_board
    from bench.engine import run

    if launched_rank():
        return run(planned.config, resume=resume, again=again)
    with open_board() as board:
        return run(
            planned.config, resume=resume, again=again, profile=profile, progress=board.row(planned.title)
        )


def _run_in_pool(
    planned: Sequence[Planned], workers: Workers, *, resume: bool, again: bool
) -> tuple[list[RunRecord], list[Outcome]]:
    from bench import tracking
    from bench.cli.board import open_board
    from bench.engine import run_path, tracking_settings
    from bench.pool import Job, choose_slots, run_jobs
    from bench.results import RunFolder

    _refuse_twins(planned)
    todo: dict[Path, tuple[Job, RunConfig]] = {}
    for each in planned:
        config, folder = each.config, run_path(each.config)
        job = Job(each.source, (*each.overrides, f"seed={config.seed}"), each.title, config.hash, folder)
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
