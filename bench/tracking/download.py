"""Runs from an MLflow store into local folders, as `bench run` would have left them: what reports read."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError, did_you_mean
from bench.results import MetricsLine, MetricsWriter, RunFolder, RunState, State
from bench.tracking.failures import RunNotFound, sorted_failures
from bench.tracking.politeness import polite_mlflow
from bench.tracking.settings import TrackingSettings, redact, resolve_uri, sqlite_path
from bench.tracking.store import try_connection

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

REPORT_TAG = "bench.kind"  # "report": a run that holds a report, not a training
_ARTIFACTS = ("record.json", "pairs.npz")
_CURVES = ("train/", "validation/")
_STATES: dict[str, State] = {"FINISHED": "FINISHED", "FAILED": "FAILED", "KILLED": "KILLED"}


def download_runs(settings: TrackingSettings, out: Path, *, run_ids: Sequence[str] = ()) -> list[Path]:
    """Fetch record, pairs and curves of runs; unfinished ones leave a folder that says how they stand.

    Args:
        settings: the store and the experiment, which is not created when missing.
        out: where to put a folder a run.
        run_ids: MLflow's ids; empty: every run of the experiment that this suite has made.

    Returns:
        The folders, oldest run first.

    Raises:
        UserError: no such store, experiment or run.
        StoreUnreachable: the store does not answer.
        TrackingRefused: the store refuses.
    """
    uri = resolve_uri(settings)
    database = sqlite_path(uri)
    if database is not None and not database.exists():
        raise UserError(
            f"MLflow at {redact(uri)}: there is no such database; go to the folder of mlflow.db, set "
            "MLFLOW_TRACKING_URI, or read run folders with --dir"
        )
    with polite_mlflow(), sorted_failures(uri):
        from mlflow import MlflowClient

        try_connection(uri)
        client = MlflowClient(tracking_uri=uri)
        if run_ids:
            runs = [_named(client, run_id, redact(uri)) for run_id in run_ids]
        else:
            runs = list(_runs_of(client, settings.experiment_name, redact(uri)))
        return [_download(client, run, out) for run in runs]


def _named(client: MlflowClient, run_id: str, store: str) -> Run:
    try:
        with sorted_failures(store):
            run = client.get_run(run_id)
    except RunNotFound:
        raise UserError(f"--runs {run_id}: MLflow at {store} has no run of that id") from None
    if "bench.run_key" not in run.data.tags or REPORT_TAG in run.data.tags:
        raise UserError(f"--runs {run_id}: is no training run of faceloss-bench ({run.info.run_name})")
    return run


def _runs_of(client: MlflowClient, experiment: str, store: str) -> Iterator[Run]:
    found = client.get_experiment_by_name(experiment)
    if found is None:
        names = [each.name for each in client.search_experiments()]
        hint = did_you_mean(experiment, names) or f"; it has {', '.join(sorted(names)) or 'none'}"
        raise UserError(f"--experiment {experiment}: MLflow at {store} has no such experiment{hint}")
    token = None
    while True:
        page = client.search_runs(
            [found.experiment_id], order_by=["attributes.start_time ASC"], page_token=token
        )
        for run in page:
            if "bench.run_key" in run.data.tags and REPORT_TAG not in run.data.tags:
                yield run
        token = page.token
        if not token:
            return


def _download(client: MlflowClient, run: Run, out: Path) -> Path:
    # a run's name is whatever somebody has typed into the browser since
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", run.info.run_name or "run").strip(".-") or "run"
    folder = RunFolder(out / f"{name}-{run.info.run_id[:8]}")
    folder.path.mkdir(parents=True)
    state = _STATES.get(run.info.status, "RUNNING")
    if state == "FINISHED":
        present = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        for artifact in _ARTIFACTS:
            if artifact in present:
                client.download_artifacts(run.info.run_id, artifact, str(folder.path))
        _write_curves(client, run, folder)
    tags = run.data.tags
    folder.write_state(
        RunState(
            state=state,
            name=name,
            config_hash=tags.get("config_hash", ""),
            seed=int(tags["seed"]) if tags.get("seed", "").isdigit() else 0,
            started_at=_iso(run.info.start_time or 0),
            error=tags.get("error"),
        )
    )
    return folder.path


def _write_curves(client: MlflowClient, run: Run, folder: RunFolder) -> None:
    lines: dict[tuple[int, int], dict[str, float]] = defaultdict(dict)
    for name in sorted(run.data.metrics):
        if name.startswith(_CURVES):
            for point in client.get_metric_history(run.info.run_id, name):
                lines[point.timestamp, point.step][name] = point.value
    writer = MetricsWriter(folder.metrics)
    for (time_ms, step), metrics in sorted(lines.items()):
        writer.append(MetricsLine(step, time_ms, metrics))
    writer.close()


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
