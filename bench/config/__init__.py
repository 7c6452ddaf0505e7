"""Configurations: YAML files in, a checked and frozen `RunConfig` out."""

from bench.config.editor import json_schema
from bench.config.load import load_config
from bench.config.redaction import redact_uri
from bench.config.run_config import Component, Explained, RunConfig, explain
from bench.config.sections import AugmentConfig, EvaluateConfig, RuntimeConfig, TrackingConfig, TrainConfig
from bench.config.shipped import shipped_configs

__all__ = [
    "AugmentConfig",
    "Component",
    "EvaluateConfig",
    "Explained",
    "RunConfig",
    "RuntimeConfig",
    "TrackingConfig",
    "TrainConfig",
    "explain",
    "json_schema",
    "load_config",
    "redact_uri",
    "shipped_configs",
]
