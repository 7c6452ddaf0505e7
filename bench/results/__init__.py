"""Run folders and run records: what runs write and reports read."""

from bench.results.environment import code_version, cpu_name, package_versions
from bench.results.files import atomic_file, suppress_full_disk, write_json, write_text
from bench.results.folder import RunFolder, RunState, Tags, new_state, now, run_folders
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

__all__ = [
    "Best",
    "Budget",
    "Code",
    "DataAudit",
    "Environment",
    "MetricsLine",
    "MetricsWriter",
    "ProtocolRecord",
    "RunFolder",
    "RunRecord",
    "RunState",
    "State",
    "Tags",
    "Timing",
    "WarmStart",
    "atomic_file",
    "code_version",
    "cpu_name",
    "new_state",
    "now",
    "package_versions",
    "read_metrics",
    "run_folders",
    "suppress_full_disk",
    "write_json",
    "write_text",
]
