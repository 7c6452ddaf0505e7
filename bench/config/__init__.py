"""Configurations: YAML files in, a checked and frozen `RunConfig` out."""

from bench.config.load import load_config
from bench.config.run_config import Component, Explained, RunConfig, explain
from bench.config.shipped import shipped_configs

__all__ = ["Component", "Explained", "RunConfig", "explain", "load_config", "shipped_configs"]
