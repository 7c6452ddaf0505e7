"""From a configuration to everything that training needs, by the seed alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.backbones import BACKBONES, architecture
from bench.config import Component, RunConfig
from bench.data import BATCHES, Augment, Data, Preprocess
from bench.errors import UserError
from bench.learner import Learner
from bench.optim import OPTIMIZERS, SCHEDULES, Schedule, parameter_groups
from bench.train import Length, training_length
from bench.warm_start import freeze, warm_start
from losses import LOSSES
from losses.registry import Registry


def build(
    config: RunConfig, data: Data, device: torch.device, *, starts: bool = True
) -> tuple[Learner, Schedule, Length]:
    """Backbone, loss, optimiser, batches and schedule, ready for the first step.

    Args:
        config: what to build.
        data: that it is trained on.
        device: to compute on.
        starts: False when a checkpoint is about to be loaded: pretrained weights, and those of another run,
            are then not asked for.

    Raises:
        UserError: the data cannot give the batches that are asked for; weights cannot be had or do not fit.
    """
    torch.manual_seed(config.seed)
    options = config.backbone.options if starts else architecture(config.backbone.options)
    backbone = _checked(BACKBONES, "backbone", Component(config.backbone.name, dict(options)), {})
    engine = {
        "embedding_dim": _embedding_dim(backbone, config.backbone.name, data.size_px),
        "num_classes": data.train.num_identities,
    }
    loss = _checked(LOSSES, "loss", config.loss, engine)
    origin = warm_start(config, backbone, loss) if starts else None
    loss = loss.to(device)
    backbone = backbone.to(device).to(memory_format=torch.channels_last)
    groups = parameter_groups((backbone, loss), decay_norms=config.optimizer.options.get("decay_norms", True))
    optimizer = _checked(OPTIMIZERS, "optimizer", config.optimizer, {"groups": groups})
    labels = {"labels": data.train.labels, "seed": config.seed}
    source = _checked(BATCHES, "batch", config.batch, labels)
    if source.size < 2 and any(isinstance(module, _BatchNorm) for module in backbone.modules()):
        raise UserError(
            f"batch: one image a batch, but backbone {config.backbone.name} normalises over batches"
        )
    length = training_length(config, len(data.train), source.size)
    spans = {
        "rate": config.optimizer.options["learning_rate"],
        "total_steps": length.total_steps,
        "epoch_steps": length.epoch_steps,
    }
    schedule = _checked(SCHEDULES, "schedule", config.schedule, spans)
    learner = Learner(
        backbone,
        loss,
        optimizer,
        source,
        ema_decay=config.train.ema_decay,
        freeze=freeze(config, backbone, loss, length),
        warm_start=origin,
    )
    return learner, schedule, length


T = TypeVar("T")


def _checked(registry: Registry[T], section: str, component: Component, engine: Mapping[str, Any]) -> T:
    """Build a component; what only its factory can refuse is the user's mistake all the same."""
    try:
        return registry.build(component.name, engine, component.options)
    except ValueError as error:
        raise UserError(f"{section}: {component.name}: {error}") from None


@torch.no_grad()
def _embedding_dim(backbone: nn.Module, name: str, size_px: int) -> int:
    backbone.eval()
    try:
        embeddings = backbone(torch.zeros(2, 3, size_px, size_px))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"backbone.name: {name} does not take images of {size_px} px ({str(error).splitlines()[0]}); "
            f"set backbone.size_px={size_px} where the network takes it, data.size_px, or another backbone"
        ) from None
    return int(embeddings.shape[1])


def augmentation(config: RunConfig) -> Augment:
    """The augmentation that the configuration asks for."""
    section = config.augment
    return Augment(
        config.seed,
        flip=section.flip,
        shift_px=section.shift_px,
        rotate_deg=section.rotate_deg,
        erase=section.erase,
        brightness=section.brightness,
    )


def preprocess(config: RunConfig) -> Preprocess:
    """What the backbone of the configuration is fed."""
    return Preprocess(config.augment.standardize)
