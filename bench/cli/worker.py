"""`bench worker`."""

from __future__ import annotations

from typing import Literal

import click

from bench.cli.arguments import workers_option


@click.command(short_help="Work on a study from another machine too.")
@click.argument("study")
@click.option("--storage", metavar="URL", required=True, help="The PostgreSQL that the study is in.")
@workers_option("Trials at a time: one a GPU; without a GPU the CPUs are divided.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Begin no trial later."
)
def worker(study: str, storage: str, workers: int | Literal["auto"], timeout: float | None) -> None:
    """Work on a study that 'bench study --storage URL' began, from this machine too.

    The study's configuration comes from the storage. A plain command, for whatever starts processes on your
    machines; it ends when the study has its trials, and may be killed at any time.

    \b
    bench study my_study.yaml --storage postgresql+psycopg://bench@db/optuna     on one machine
    bench worker my_study --storage postgresql+psycopg://bench@db/optuna         on others
    """
    from pathlib import Path

    from bench.cli.board import open_board
    from bench.pool import choose_slots
    from bench.study.conduct import on_this_machine, run_study
    from bench.study.ledger import open_existing
    from bench.study.storage import open_place

    with open_board() as board:
        with open_place(storage, Path(), board.note) as place:
            config = open_existing(place, study)
        slots = choose_slots(workers, config.settings.trials)
        heartbeat_s = config.settings.heartbeat_s
        with open_place(storage, Path(), board.note, heartbeat_s=heartbeat_s) as place:
            ended = run_study(config, place, on_this_machine(slots, timeout), board)
    click.echo(f"{study}: {ended.counts.finished} of {config.settings.trials} trials are finished")
