"""Searches: many runs whose settings Optuna proposes, on one machine or many.

from bench.study import load_study, suggest

study = load_study("my_study.yaml")

def objective(trial):  # of your own, for your own optuna.Study
    config = study.run_config(suggest(trial, study.space))
    return bench.run(config, test=False).validation["validation/accuracy"]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.study.config import StudyConfig, is_study, load_study
    from bench.study.ledger import suggest
    from bench.study.space import Space

__all__ = ["Space", "StudyConfig", "is_study", "load_study", "suggest"]

_HOME = {
    "Space": "space",
    "StudyConfig": "config",
    "is_study": "config",
    "load_study": "config",
    "suggest": "ledger",
}


def __getattr__(name: str) -> Any:
    # the registries need torch, which takes seconds to import
    if name not in _HOME:
        raise AttributeError(f"module 'bench.study' has no attribute {name!r}")
    return getattr(importlib.import_module(f"bench.study.{_HOME[name]}"), name)
