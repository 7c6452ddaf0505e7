"""Delivery of run folders to MLflow: from the folder alone, in order, each step once, now or later.

The only package that knows MLflow, which is imported when the first store is opened (its import takes two
seconds), never by `import bench.tracking`.
"""

from bench.tracking.backlog import SyncResult, close_abandoned, sync
from bench.tracking.deliverer import Deliverer
from bench.tracking.delivery import Delivery, deliver
from bench.tracking.download import download_runs
from bench.tracking.failures import StoreUnreachable, TrackingRefused
from bench.tracking.progress import is_delivered, run_id_of
from bench.tracking.settings import TrackingSettings
from bench.tracking.store import prepare
from bench.tracking.upload import upload_report

__all__ = [
    "Deliverer",
    "Delivery",
    "StoreUnreachable",
    "SyncResult",
    "TrackingRefused",
    "TrackingSettings",
    "close_abandoned",
    "deliver",
    "download_runs",
    "is_delivered",
    "prepare",
    "run_id_of",
    "sync",
    "upload_report",
]
