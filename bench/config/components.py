"""Which registry fills which section. Importing this imports every loss, backbone and data set."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bench.backbones import BACKBONES
from bench.data import BATCHES, DATASETS
from bench.optim import OPTIMIZERS
from bench.schedules import SCHEDULES
from losses import LOSSES
from losses.registry import Registry

COMPONENTS: Mapping[str, Registry[Any]] = MappingProxyType(
    {
        "data": DATASETS,
        "backbone": BACKBONES,
        "loss": LOSSES,
        "batch": BATCHES,
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
    }
)
