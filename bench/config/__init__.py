"""Configurations: YAML files in, a checked and frozen `RunConfig` out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.config.editor import json_schema
    from bench.config.load import load_config, parse_config
    from bench.config.redaction import redact_uri
    from bench.config.run_config import Component, Explained, RunConfig, explain
    from bench.config.sections import (
        AugmentConfig,
        EvaluateConfig,
        InitConfig,
        RuntimeConfig,
        TrackingConfig,
        TrainConfig,
    )
    from bench.config.shipped import shipped_configs

__all__ = [
    "AugmentConfig",
    "Component",
    "EvaluateConfig",
    "Explained",
    "InitConfig",
    "RunConfig",
    "RuntimeConfig",
    "TrackingConfig",
    "TrainConfig",
    "explain",
    "json_schema",
    "load_config",
    "parse_config",
    "redact_uri",
    "shipped_configs",
]

_HOMES = {
    "editor": ("json_schema",),
    "load": ("load_config", "parse_config"),
    "redaction": ("redact_uri",),
    "run_config": ("Component", "Explained", "RunConfig", "explain"),
    "sections": (
        "AugmentConfig",
        "EvaluateConfig",
        "InitConfig",
        "RuntimeConfig",
        "TrackingConfig",
        "TrainConfig",
    ),
    "shipped": ("shipped_configs",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    # the registries need torch, which takes seconds to import: `bench list configs` does without
    if name not in _HOME:
        raise AttributeError(f"module 'bench.config' has no attribute {name!r}")
    return getattr(importlib.import_module(f"bench.config.{_HOME[name]}"), name)
