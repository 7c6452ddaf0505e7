"""A folder of files as the artifacts of a run of its own: how a report gets to where the runs are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from bench.tracking.download import REPORT_TAG
from bench.tracking.politeness import polite_mlflow
from bench.tracking.settings import TrackingSettings
from bench.tracking.store import open_store


def upload_report(
    settings: TrackingSettings, folder: Path, files: Sequence[Path], *, name: str, key: str
) -> str:
    """Store a report's files; the report on the same runs again replaces them.

    Args:
        settings: where to; the experiment is created when missing.
        folder: that the files lie in.
        files: to upload, with their folders below `folder`.
        name: of the MLflow run.
        key: names what the report is about; equal keys share one run.

    Returns:
        MLflow's id of the run.

    Raises:
        StoreUnreachable: the store does not answer.
        TrackingRefused: the store refuses.
        UserError: the settings cannot work.
    """
    with polite_mlflow():
        store = open_store(settings)
        try:
            run = store.find_run(key)
            if run is None:
                now_ms = int(time.time() * 1000)
                run = store.create_run(name, now_ms, {"bench.run_key": key, REPORT_TAG: "report"})
            for file in files:
                inside = file.relative_to(folder).parent
                store.upload(run.info.run_id, file, None if inside == Path() else inside.as_posix())
            store.terminate(run.info.run_id, "FINISHED", int(time.time() * 1000))
            return str(run.info.run_id)
        finally:
            store.release()
