"""One MLflow store as this package uses it: opened once, created once, asked in a dozen ways."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from bench.config.redaction import hide_secrets
from bench.errors import UserError
from bench.tracking.failures import StoreUnreachable, first_line, sorted_failures
from bench.tracking.politeness import after_fork, polite_mlflow
from bench.tracking.settings import (
    TrackingSettings,
    hidden_by_old_store,
    logger,
    redact,
    resolve_uri,
    sqlite_path,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_CREATION_WAIT_S = 120  # a first creation takes 3 s on an idle machine; several processes queue here
_ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"


class Store:
    """An open MLflow store.

    Args:
        client: MLflow's client for `uri`.
        uri: the full address; only `name`, without credentials, may be shown.
        experiment: name of the experiment that new runs join.
    """

    def __init__(self, client: MlflowClient, uri: str, experiment: str) -> None:
        self._client = client
        self._uri = uri
        self._experiment = experiment
        self.name = redact(uri)

    def experiment_id(self) -> str:
        """The id of the experiment, which is created when missing.

        Raises:
            UserError: an experiment of that name was deleted, and MLflow keeps the name taken.
        """
        from mlflow.exceptions import MlflowException

        with sorted_failures(self._uri):
            experiment = self._client.get_experiment_by_name(self._experiment)
            if experiment is None:
                try:
                    return self._client.create_experiment(
                        self._experiment,
                        artifact_location=_artifacts_beside(self._uri, self._experiment),
                        # the UI then opens on the table of runs, not on the tools for language models
                        tags={"mlflow.experimentKind": "custom_model_development"},
                    )
                except MlflowException as error:  # somebody on another machine was faster
                    if error.error_code != _ALREADY_EXISTS:
                        raise
                experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is None or experiment.lifecycle_stage == "deleted":
            known = f" -x {experiment.experiment_id}" if experiment else ""
            raise UserError(
                f"MLflow at {self.name}: the experiment '{self._experiment}' was deleted there; restore it "
                f"with 'mlflow experiments restore{known}' or choose another with tracking.experiment=NAME"
            )
        return str(experiment.experiment_id)

    def find_run(self, key: str) -> Run | None:
        """The run that carries our key, deleted ones included; the oldest of several."""
        from mlflow.entities import ViewType

        experiment_id = self.experiment_id()
        with sorted_failures(self._uri):
            found = self._client.search_runs(
                [experiment_id],
                f"tags.`bench.run_key` = '{key}'",
                run_view_type=ViewType.ALL,
                order_by=["attributes.start_time ASC"],
            )
            return found[0] if found else None

    def create_run(self, name: str, start_ms: int, tags: Mapping[str, str]) -> Run:
        """A new run, RUNNING."""
        experiment_id = self.experiment_id()
        with sorted_failures(self._uri):
            return self._client.create_run(experiment_id, start_time=start_ms, tags=dict(tags), run_name=name)

    def run(self, run_id: str) -> Run:
        """The run as the store has it: status, params, tags, the latest value of each metric.

        Raises:
            RunNotFound: there is none of that id.
        """
        with sorted_failures(self._uri):
            return self._client.get_run(run_id)

    def steps_of(self, run_id: str, metric: str) -> set[int]:
        """The steps at which the store already has a value of this metric."""
        with sorted_failures(self._uri):
            return {point.step for point in self._client.get_metric_history(run_id, metric)}

    def log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Send metrics, at most 1000 a call."""
        with sorted_failures(self._uri):
            for start in range(0, len(metrics), 1000):
                self._client.log_batch(run_id, metrics=metrics[start : start + 1000])

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Send parameters that the store does not have yet; it refuses to change one."""
        from mlflow.entities import Param

        with sorted_failures(self._uri):  # the client cuts it into calls of 100
            self._client.log_batch(run_id, params=[Param(*item) for item in params.items()])

    def log_tags(self, run_id: str, tags: Mapping[str, str], removed: Sequence[str] = ()) -> None:
        """Set and remove tags."""
        from mlflow.entities import RunTag

        with sorted_failures(self._uri):
            self._client.log_batch(run_id, tags=[RunTag(*item) for item in tags.items()])
            for key in removed:
                self._client.delete_tag(run_id, key)

    def upload(self, run_id: str, file: Path, folder: str | None) -> None:
        """Store a file among the run's artifacts, in place of one of that name."""
        with sorted_failures(self._uri):
            self._client.log_artifact(run_id, str(file), folder)

    def set_running(self, run_id: str) -> None:
        """The run goes on."""
        with sorted_failures(self._uri):
            self._client.update_run(run_id, status="RUNNING")

    def terminate(self, run_id: str, status: str, end_ms: int) -> None:
        """The run has ended, at Unix time `end_ms`."""
        with sorted_failures(self._uri):
            self._client.set_terminated(run_id, status, end_ms)

    def release(self) -> None:
        """Close the database connections that wait in the pool, so that a process forked later gets none."""
        engine = _engine(self._client)
        if engine is not None:
            engine.dispose()


def prepare(settings: TrackingSettings, *, report: Callable[[str], None] | None = None) -> TrackingSettings:
    """Make the store ready before any worker starts: address checked, tables and experiment created once.

    Several processes may call it at once. A server that does not answer is only warned of: runs go on and
    are delivered later.

    Args:
        settings: where to.
        report: is told warnings, one line each; None: the logger `bench.tracking`.

    Returns:
        The settings with an absolute address, to hand to workers in whatever folder they run.

    Raises:
        UserError: a malformed address, an unusable database file, a deleted experiment, a driver that is
            not installed.
        TrackingRefused: the store answers and refuses, a login for example.
    """
    settings = replace(settings, uri=resolve_uri(settings))
    assert settings.uri is not None
    report = report or logger.warning
    if hidden_by_old_store(settings.uri):
        folder = Path.cwd() / "mlruns"
        report(
            f"{folder} holds an old file store, which MLflow no longer opens; the runs go to {settings.uri}; "
            f"see them with: mlflow ui --backend-store-uri {settings.uri}"
        )
    with polite_mlflow():
        try:
            open_store(settings).release()
        except StoreUnreachable as error:
            if sqlite_path(settings.uri):
                raise UserError(
                    f"{error.problem}; free or repair it, set MLFLOW_TRACKING_URI to another store, or run "
                    "with tracking.enabled=false"
                ) from error
            known_away.add(settings.uri)
            report(
                f"{error.problem}; runs go on, their metrics wait in the run folders; "
                "deliver them later with: bench track sync"
            )
    return settings


_open: dict[tuple[str, str], Store] = {}
known_away: set[str] = set()  # stores that the user was told of already


def open_store(settings: TrackingSettings) -> Store:
    """The store of `settings`, opened once in a process; call it inside `polite_mlflow`.

    The first connection creates tables and experiment, one process at a time: at once, they break the
    database, sometimes for good.
    """
    uri = resolve_uri(settings)
    known = _open.get((uri, settings.experiment_name))
    if known is not None:
        return known
    from mlflow import MlflowClient

    try:
        with _creation_lock(uri).acquire(timeout=_CREATION_WAIT_S):
            with sorted_failures(uri):
                try_connection(uri)
                store = Store(MlflowClient(tracking_uri=uri), uri, settings.experiment_name)
            store.experiment_id()
    except Timeout:
        raise StoreUnreachable(uri, f"another process creates it since {_CREATION_WAIT_S} s") from None
    _open[uri, settings.experiment_name] = store
    return store


def try_connection(uri: str) -> None:
    """Fail at once where MLflow would repeat for 100 s: databases only, one connection."""
    if uri.startswith(("http", "databricks")):
        return
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    database = sqlite_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
    try:
        engine = create_engine(uri, poolclass=NullPool)
    except ModuleNotFoundError as error:
        raise UserError(
            f"MLflow at {redact(uri)} needs the Python package {error.name}; "
            "pip install 'faceloss-bench[services]' brings PostgreSQL's"
        ) from None
    except (NoSuchModuleError, ArgumentError) as error:
        raise UserError(
            f"MLflow at {redact(uri)}: {hide_secrets(first_line(error), uri)}; correct the address"
        ) from None
    with engine.connect() as connection:
        if database is not None:  # SQLite opens whatever file it is given; only reading tells
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")


def _creation_lock(uri: str) -> FileLock:
    database = sqlite_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(database.with_name(f".{database.name}.lock"))
    name = f"bench-tracking-{os.getuid()}-{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"
    return FileLock(Path(tempfile.gettempdir()) / name)


def _artifacts_beside(uri: str, experiment: str) -> str | None:
    """Artifacts lie beside their SQLite database, wherever the process runs; servers decide themselves."""
    database = sqlite_path(uri)
    if database is None or database.parent == Path.cwd():
        return None  # MLflow's own choice, ./mlruns/<experiment id>
    token = hashlib.sha256(experiment.encode()).hexdigest()[:8]
    return str(database.parent / "mlruns" / token)


def _engine(client: MlflowClient) -> Any:
    # MLflow has no public way to its connection pool; stores without one (HTTP) have no engine.
    return getattr(client._tracking_client.store, "engine", None)


def _forget_connections() -> None:
    for store in _open.values():
        engine = _engine(store._client)
        if engine is not None:
            engine.dispose(close=False)  # they belong to the parent process
    _open.clear()


after_fork(_forget_connections)
