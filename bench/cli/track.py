"""`bench track`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def track() -> None:
    """Deliver run folders to MLflow."""


@track.command()
@click.argument("runs", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--uri", help="MLflow server or database [default: MLFLOW_TRACKING_URI, else ./mlflow.db].")
@click.option("--experiment", default="faceloss-bench", show_default=True, help="MLflow experiment.")
@click.option("--upload-checkpoint", is_flag=True, help="Store checkpoints as artifacts too.")
def sync(runs: Path, uri: str | None, experiment: str, upload_checkpoint: bool) -> None:
    """Close runs whose process has died and deliver everything that waits below RUNS."""
    from bench import tracking

    settings = tracking.TrackingSettings(uri=uri, experiment=experiment, upload_checkpoint=upload_checkpoint)
    results = tracking.sync(runs, settings)
    for result in results:
        click.echo(f"{result}")
    if not results:
        click.echo(f"{runs}: no run folders")
