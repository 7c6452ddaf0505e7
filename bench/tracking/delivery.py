"""One pass of delivery: bring MLflow to what the run folder says, from wherever it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from bench.errors import BenchError
from bench.results import MetricsLine, RunFolder, RunRecord, RunState, State, read_metrics
from bench.tracking import contents
from bench.tracking.failures import RunNotFound, TrackingRefused
from bench.tracking.politeness import polite_mlflow
from bench.tracking.progress import Ledger, Progress, load_ledger, save_ledger, tail_of, versions_of
from bench.tracking.settings import TrackingSettings
from bench.tracking.store import Store, open_store

if TYPE_CHECKING:
    from mlflow.entities import Run

_POINTS_PER_CALL = 1000  # MLflow's limit
_SLOW_BYTES_PER_S = 1_000_000  # an upload slower than that counts as stuck


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one pass did.

    Args:
        run_id: MLflow's id of the run; None when nothing was delivered.
        state: the run's state that MLflow now shows; None when nothing was delivered.
        num_points: metric values sent in this pass.
        is_complete: the run has ended, and MLflow has all of it.
        is_busy: another process is delivering this folder; nothing was done.
    """

    run_id: str | None = None
    state: State | None = None
    num_points: int = 0
    is_complete: bool = False
    is_busy: bool = False


def deliver(
    folder: RunFolder,
    settings: TrackingSettings,
    *,
    wait_s: float = 0.0,
    alive: Callable[[float], None] = lambda allowance_s: None,
) -> Delivery:
    """Deliver what is new in a run folder; doing it twice, or again after a crash anywhere, changes nothing.

    While a run is RUNNING or KILLED, metrics go up to `RunState.durable_bytes`, since a resume writes what
    lies beyond again. Of a FINISHED or FAILED run everything goes.

    Args:
        folder: the run; without state.json nothing is done.
        settings: where to.
        wait_s: how long to wait for another process that is delivering this folder.
        alive: called after each answer of the store, with the seconds that the next call may take beyond
            the usual.

    Raises:
        StoreUnreachable: deliver again later; what was sent is remembered.
        TrackingRefused: the store refuses, for example because the run was deleted there.
        UserError: the settings cannot work.
        BenchError: a file of the run folder is damaged.
    """
    if folder.state() is None:
        return Delivery()
    with polite_mlflow():
        store = open_store(settings)
        alive(0.0)
        try:
            with _delivery_lock(folder, wait_s):
                return _Pass(folder, store, alive).run(settings)
        except Timeout:
            return Delivery(is_busy=True)
        finally:
            store.release()


@contextmanager
def _delivery_lock(folder: RunFolder, wait_s: float) -> Iterator[None]:
    with FileLock(folder.path / "tracking.lock").acquire(timeout=wait_s):
        yield


@dataclass
class _Pass:
    folder: RunFolder
    store: Store
    alive: Callable[[float], None]
    state: RunState = field(init=False)
    ledger: Ledger = field(init=False)
    progress: Progress = field(init=False)
    num_points: int = 0

    def run(self, settings: TrackingSettings) -> Delivery:
        # Read first, and once: what the run writes meanwhile belongs to the next pass.
        versions = versions_of(self.folder)
        state = self.folder.state()
        if state is None:
            return Delivery()
        self.state = state
        ended = state.state != "RUNNING"
        record = self.folder.record() if ended else None
        self.ledger = load_ledger(self.folder, state)
        self.progress = self.ledger.stores.setdefault(self.store.name, Progress())

        run, is_new = self._find_or_create()
        run_id = run.info.run_id
        self._send_params(run)
        self._send_tags(run, record)
        if not ended and run.info.status != "RUNNING":  # resumed
            self.store.set_running(run_id)
        self._send_metrics(run, is_new=is_new)
        if record is not None:
            self._send_final_metrics(run, record)
        self._send_artifacts(run_id, ended=ended, with_checkpoint=settings.upload_checkpoint)
        if ended:  # last: a run that MLflow shows as ended is complete there
            self._terminate(run)
            if self.progress.told != versions:
                self.progress.told = versions
                self._save()
        return Delivery(run_id, state.state, self.num_points, is_complete=ended)

    def _find_or_create(self) -> tuple[Run, bool]:
        """The MLflow run of this folder, and whether it has just been made."""
        run = self._known_run()
        if run is None:
            self.progress = self.ledger.stores[self.store.name] = Progress()
            self._save()  # the key first: after a crash behind create_run it finds the run again
            run = self.store.find_run(self.ledger.run_key)
        is_new = run is None
        if run is None:
            run = self.store.create_run(
                self.folder.path.name,
                contents.milliseconds(self.state.started_at),
                {"bench.run_key": self.ledger.run_key, "mlflow.source.name": "bench"},
            )
        if run.info.lifecycle_stage == "deleted":
            raise TrackingRefused(
                f"{self.folder.path}: its run {run.info.run_id} was deleted in MLflow at {self.store.name}; "
                f"bring it back with: mlflow runs restore --run-id {run.info.run_id}"
            )
        if self.progress.run_id != run.info.run_id:
            self.progress.run_id = run.info.run_id
            self._save()
        self.alive(0.0)
        return run, is_new

    def _known_run(self) -> Run | None:
        if self.progress.run_id is None:
            return None
        try:
            return self.store.run(self.progress.run_id)
        except RunNotFound:  # the store was emptied since; there the run does not exist yet
            return None

    def _send_params(self, run: Run) -> None:
        # MLflow's params never change: what a resume may alter (device, threads) stays as first told,
        # config.yaml and the record have the last word.
        new = {
            key: value
            for key, value in contents.params(self.folder.config).items()
            if key not in run.data.params
        }
        if new:
            self.store.log_params(run.info.run_id, new)
            self.alive(0.0)

    def _send_tags(self, run: Run, record: RunRecord | None) -> None:
        wanted = contents.tags(self.folder, self.state, record) | self._parent_tag()
        changed = {key: value for key, value in wanted.items() if run.data.tags.get(key) != value}
        removed = [key for key in ("error",) if key in run.data.tags and key not in wanted]
        if changed or removed:
            self.store.log_tags(run.info.run_id, changed, removed)
            self.alive(0.0)

    def _parent_tag(self) -> dict[str, str]:
        """Whose part this run is, once the whole has been delivered to this store; it goes first."""
        parent = self.folder.tags().parent
        if parent is None:
            return {}
        folder = RunFolder(Path(parent))
        state = folder.state()
        known = load_ledger(folder, state).stores.get(self.store.name) if state else None
        return {"mlflow.parentRunId": known.run_id} if known and known.run_id else {}

    def _send_metrics(self, run: Run, *, is_new: bool) -> None:
        known = self._known_steps(run, is_new=is_new)
        limit = self.state.durable_bytes if self.state.state in ("RUNNING", "KILLED") else None
        batch: list[MetricsLine] = []
        size = 0
        for line in _whole_lines(self.folder.metrics, self.progress.offset, limit):
            if batch and size + len(line.metrics) > _POINTS_PER_CALL:
                self._send_lines(run.info.run_id, batch, known)
                batch, size = [], 0
            batch.append(line)
            size += len(line.metrics)
        if batch:
            self._send_lines(run.info.run_id, batch, known)
        if self.progress.sending:
            self.progress.sending = False
            self._save()

    def _known_steps(self, run: Run, *, is_new: bool) -> Mapping[str, set[int]]:
        """Metric -> steps that the store has and that our offset does not account for. Usually none.

        It is asked when the offset is lost or cannot be trusted: metrics were on their way as a process
        died, or a resume has cut the file and written it anew.
        """
        progress, metrics = self.progress, self.folder.metrics
        if progress.offset and (not metrics.exists() or tail_of(metrics, progress.offset) != progress.tail):
            progress.offset, progress.tail = 0, ""
        elif not progress.sending and (progress.offset or is_new):
            return {}
        known = {}
        for name in run.data.metrics:
            known[name] = self.store.steps_of(run.info.run_id, name)
            self.alive(0.0)
        return known

    def _send_lines(self, run_id: str, lines: list[MetricsLine], known: Mapping[str, set[int]]) -> None:
        from mlflow.entities import Metric

        if not self.progress.sending:
            self.progress.sending = True
            self._save()
        points = []
        for line in lines:
            for name, value in line.metrics.items():
                key = contents.metric_name(name)
                if line.step not in known.get(key, ()):
                    points.append(Metric(key, float(value), line.time_ms, line.step))
        self.store.log_metrics(run_id, points)
        self.num_points += len(points)
        self.progress.offset = lines[-1].end
        self.progress.tail = tail_of(self.folder.metrics, lines[-1].end)
        self._save()
        self.alive(0.0)

    def _send_final_metrics(self, run: Run, record: RunRecord) -> None:
        from mlflow.entities import Metric

        time_ms = contents.milliseconds(record.ended_at)
        points = []
        for name, value in record.metrics().items():
            key = contents.metric_name(name)
            present = run.data.metrics.get(key)
            if present is None or not _same(present, value):
                points.append(Metric(key, value, time_ms, record.budget.steps))
        self.store.log_metrics(run.info.run_id, points)
        self.num_points += len(points)
        self.alive(0.0)

    def _send_artifacts(self, run_id: str, *, ended: bool, with_checkpoint: bool) -> None:
        for path, artifact_folder in contents.artifacts(
            self.folder, ended=ended, with_checkpoint=with_checkpoint
        ):
            name = f"{artifact_folder}/{path.name}" if artifact_folder else path.name
            status = path.stat()
            version = f"{status.st_size} bytes, {status.st_mtime_ns} ns"
            if self.progress.artifacts.get(name) == version:
                continue
            self.alive(status.st_size / _SLOW_BYTES_PER_S)
            self.store.upload(run_id, path, artifact_folder)
            self.progress.artifacts[name] = version
            self._save()
            self.alive(0.0)

    def _terminate(self, run: Run) -> None:
        ended_at = self.state.ended_at or self.state.started_at
        end_ms = contents.milliseconds(ended_at)
        if run.info.status != self.state.state or run.info.end_time != end_ms:
            self.store.terminate(run.info.run_id, self.state.state, end_ms)

    def _save(self) -> None:
        save_ledger(self.folder, self.ledger)


def _whole_lines(metrics: Path, start: int, stop: int | None) -> Iterator[MetricsLine]:
    try:
        yield from read_metrics(metrics, start=start, end=stop)
    except BenchError as error:
        raise BenchError(f"{error}; everything before is delivered") from None


def _same(present: float, value: float) -> bool:
    return present == value or (isnan(present) and isnan(value))
