"""From a configuration to everything that training needs, by the seed alone."""

from __future__ import annotations

import torch

from bench.backbones import BACKBONES
from bench.config import RunConfig
from bench.data import BATCHES, Augment, Data
from bench.learner import Learner
from bench.optim import OPTIMIZERS, SCHEDULES, Schedule, parameter_groups
from bench.train import Length, training_length
from losses import LOSSES


def build(config: RunConfig, data: Data, device: torch.device) -> tuple[Learner, Schedule, Length]:
    """Backbone, loss, optimiser, batches and schedule, ready for the first step.

    Raises:
        UserError: the data cannot give the batches that are asked for.
    """
    torch.manual_seed(config.seed)
    backbone = BACKBONES.build(config.backbone.name, {}, config.backbone.options)
    engine = {
        "embedding_dim": config.backbone.options["embedding_dim"],
        "num_classes": data.train.num_identities,
    }
    loss = LOSSES.build(config.loss.name, engine, config.loss.options).to(device)
    backbone = backbone.to(device).to(memory_format=torch.channels_last)
    groups = parameter_groups((backbone, loss), decay_norms=config.optimizer.options["decay_norms"])
    optimizer = OPTIMIZERS.build(config.optimizer.name, {"groups": groups}, config.optimizer.options)
    labels = {"labels": data.train.labels, "seed": config.seed}
    source = BATCHES.build(config.batch.name, labels, config.batch.options)
    length = training_length(config, len(data.train), source.size)
    spans = {
        "rate": config.optimizer.options["learning_rate"],
        "total_steps": length.total_steps,
        "epoch_steps": length.epoch_steps,
    }
    schedule = SCHEDULES.build(config.schedule.name, spans, config.schedule.options)
    learner = Learner(backbone, loss, optimizer, source, ema_decay=config.train.ema_decay)
    return learner, schedule, length


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
