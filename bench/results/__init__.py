"""Run folders and run records: what runs write and reports read."""

from bench.results.alignment import Alignment
from bench.results.environment import code_version, cpu_name, package_versions
from bench.results.files import atomic_file, suppress_full_disk, write_json, write_text
from bench.results.folder import RunFolder, RunState, Tags, new_state, now, run_folders, to_the_second
from bench.results.metrics import MetricsLine, MetricsWriter, read_metrics
from bench.results.record import (
    Best,
    Budget,
    Code,
    DataAudit,
    Environment,
    ProtocolRecord,
    RunRecord,
    State,
    Timing,
    WarmStart,
)
from bench.results.thresholds import (
    Preprocessing,
    Threshold,
    Thresholds,
    as_documents,
    deployed_fars,
    read_thresholds,
)

__all__ = [
    "Alignment",
    "Best",
    "Budget",
    "Code",
    "DataAudit",
    "Environment",
    "MetricsLine",
    "MetricsWriter",
    "Preprocessing",
    "ProtocolRecord",
    "RunFolder",
    "RunRecord",
    "RunState",
    "State",
    "Tags",
    "Threshold",
    "Thresholds",
    "Timing",
    "WarmStart",
    "as_documents",
    "atomic_file",
    "code_version",
    "cpu_name",
    "deployed_fars",
    "new_state",
    "now",
    "package_versions",
    "read_metrics",
    "read_thresholds",
    "run_folders",
    "suppress_full_disk",
    "to_the_second",
    "write_json",
    "write_text",
]
