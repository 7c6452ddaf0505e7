"""`bench track`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bench.tracking import SyncResult


@click.group()
def track() -> None:
    """Deliver run folders to MLflow."""


@track.command(short_help="Deliver to MLflow what waits below RUNS.")
@click.argument("runs", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--uri", help="MLflow server or database [default: each run's own].")
@click.option("--experiment", help="MLflow experiment [default: each run's own].")
@click.option("--upload-checkpoint", is_flag=True, help="Store checkpoints as artifacts too.")
def sync(runs: Path, uri: str | None, experiment: str | None, upload_checkpoint: bool) -> None:
    """Close runs whose process has died and deliver everything that waits below RUNS."""
    from bench import tracking

    settings = tracking.TrackingSettings(uri=uri, experiment=experiment, upload_checkpoint=upload_checkpoint)
    results = tracking.sync(runs, settings)
    for result in results:
        click.echo(_line(result), err=result.problem is not None)
    if not results:
        click.echo(f"{runs}: no run folders")
    if any(result.problem for result in results):
        raise SystemExit(1)


def _line(result: SyncResult) -> str:
    if result.problem is not None:
        return result.problem
    closed = "closed as KILLED, its process is gone; " if result.was_closed else ""
    delivery = result.delivery
    if delivery is None or delivery.run_id is None:
        return f"{result.folder}: {closed}nothing to deliver"
    state = delivery.state if delivery.is_complete else f"{delivery.state}, more to come"
    return (
        f"{result.folder}: {closed}{state}, {delivery.num_points} values sent, MLflow run {delivery.run_id}"
    )
