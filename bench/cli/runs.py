"""How a command names a run: its folder, its folder's name, or its id in MLflow."""

from __future__ import annotations

from pathlib import Path

import click

_RUNS = Path("runs")


def find_run(context: click.Context, parameter: click.Parameter, given: Path | None) -> Path | None:
    """A click callback: the folder or checkpoint that is meant.

    `center-0a1b2c3d-s0` is a folder in ./runs, and so is the one whose run in MLflow has a given id. What is
    none of these stays as it is: whoever opens it says that it is not there.
    """
    if given is None or given.exists() or len(given.parts) != 1:
        return given
    if (_RUNS / given).is_dir():
        return _RUNS / given
    return _of_mlflow(given.name) or given


def _of_mlflow(run_id: str) -> Path | None:
    from bench.results import run_folders
    from bench.tracking import run_id_of

    return next((folder.path for folder in run_folders(_RUNS) if run_id_of(folder) == run_id), None)
