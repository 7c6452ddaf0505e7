"""faceloss-bench: a fair, tracked benchmark of losses for face-verification embeddings.

from bench import load_config, run
record = run("center", ["loss.factor=0.1"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.config import RunConfig, load_config
    from bench.engine import run
    from bench.results import RunRecord

__all__ = ["RunConfig", "RunRecord", "load_config", "run"]

_HOME = {
    "RunConfig": "bench.config",
    "load_config": "bench.config",
    "RunRecord": "bench.results",
    "run": "bench.engine",
}


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: `bench --help` and `import bench` do without
    if name not in _HOME:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
