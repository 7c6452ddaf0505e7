"""From a configuration to everything that training needs, by the seed alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.backbones import BACKBONES, architecture, recompute
from bench.config import Component, RunConfig
from bench.data import BATCHES, Augment, Data, Preprocess, SuperBatch
from bench.distributed import ALONE, World
from bench.embed import weights_dtype
from bench.errors import UserError
from bench.learner import Learner
from bench.memory import is_out_of_memory
from bench.optim import OPTIMIZERS, parameter_groups
from bench.schedules import SCHEDULES, Schedule
from bench.shards import Shards
from bench.train import Length, training_length
from bench.uncompiled import postpone_compiler
from bench.warm_start import freeze, warm_start
from losses import LOSSES, Loss, Triplet
from losses.registry import Registry


def build(
    config: RunConfig, data: Data, device: torch.device, world: World = ALONE, *, starts: bool = True
) -> tuple[Learner, Schedule, Length]:
    """Backbone, loss, optimiser, batches and schedule, ready for the first step.

    Args:
        config: what to build.
        data: that it is trained on.
        device: to compute on.
        world: processes that train together.
        starts: False when a checkpoint is about to be loaded: pretrained weights, and those of another run,
            are then not asked for.

    Raises:
        UserError: the data cannot give the batches that are asked for; weights cannot be had or do not fit.
    """
    torch.manual_seed(config.seed)
    options = config.backbone.options if starts else architecture(config.backbone.options)
    backbone = _checked(BACKBONES, "backbone", Component(config.backbone.name, dict(options)), {})
    engine = {
        "embedding_dim": _embedding_dim(backbone, config.backbone.name, input_px(config, data.size_px)),
        "num_classes": data.train.num_identities,
    }
    if config.train.batch_norm_momentum is not None:
        _set_batch_norm_momentum(backbone, config.backbone.name, config.train.batch_norm_momentum)
    loss = _checked(LOSSES, "loss", config.loss, engine)
    # before a warm start: float64 weights would be rounded on their way in
    dtype = weights_dtype(config.train.precision)
    backbone, loss = backbone.to(dtype), loss.to(dtype)
    origin = warm_start(config, backbone, loss) if starts else None
    shards = Shards(loss, world, wanted=config.runtime.shard_classes)
    loss = loss.to(device, dtype)
    backbone = backbone.to(device, dtype).to(memory_format=torch.channels_last)
    if config.train.sync_batch_norm:
        backbone = _synchronised(backbone, config.backbone.name, device)
    if config.runtime.activation_checkpointing:
        _recompute(backbone, config)
    groups = parameter_groups((backbone, loss), decay_norms=config.optimizer.options.get("decay_norms", True))
    postpone_compiler()
    optimizer = _checked(OPTIMIZERS, "optimizer", config.optimizer, {"groups": groups})
    labels = {"labels": data.train.labels, "seed": config.seed}
    source = _checked(BATCHES, "batch", config.batch, labels)
    if _reads_given_triplets(loss) and not getattr(source, "gives_triplets", False):
        raise UserError(
            f"loss.mining: given reads anchor, positive and negative from three rows each, which batch "
            f"{config.batch.name} does not hold; set batch.name=super_batch, or another loss.mining"
        )
    world.check_batch(source.size)
    if world.size > 1 and isinstance(source, SuperBatch):
        raise UserError(
            f"batch: the last batch of a super-batch is smaller and does not divide among {world.size} "
            "processes; train in one, or choose another batch.name"
        )
    if config.train.micro_batch == 1 and _batch_norms(backbone):
        raise UserError(
            f"train.micro_batch: one image at a time, but backbone {config.backbone.name} normalises over "
            "batches; set 2 or more"
        )
    if source.size // world.size < 2 and _batch_norms(backbone):
        each = "a batch" if world.size == 1 else "a batch and process"
        raise UserError(
            f"batch: one image {each}, but backbone {config.backbone.name} normalises over batches"
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
        world=world,
        freeze=freeze(config, backbone, loss, length),
        warm_start=origin,
        scales_loss=config.train.precision == "fp16",
        shards=shards,
        compiles=config.train.compile,
    )
    return learner, schedule, length


T = TypeVar("T")


def _checked(registry: Registry[T], section: str, component: Component, engine: Mapping[str, Any]) -> T:
    """Build a component; what only its factory can refuse is the user's mistake all the same."""
    try:
        return registry.build(component.name, engine, component.options)
    except ValueError as error:
        raise UserError(f"{section}: {component.name}: {error}") from None


def _reads_given_triplets(loss: Loss) -> bool:
    modules = loss.modules()  # a sum holds others
    return any(isinstance(module, Triplet) and module.reads_given_triplets for module in modules)


def _batch_norms(backbone: nn.Module) -> list[_BatchNorm]:
    return [module for module in backbone.modules() if isinstance(module, _BatchNorm)]


def _set_batch_norm_momentum(backbone: nn.Module, name: str, momentum: float) -> None:
    layers = _batch_norms(backbone)
    if not layers:
        raise UserError(f"train.batch_norm_momentum: backbone {name} has no batch normalisation")
    for layer in layers:
        layer.momentum = momentum


def _synchronised(backbone: nn.Module, name: str, device: torch.device) -> nn.Module:
    if not _batch_norms(backbone):
        raise UserError(f"train.sync_batch_norm: backbone {name} has no batch normalisation")
    if device.type != "cuda":
        raise UserError(
            f"train.sync_batch_norm: torch synchronises batch statistics on CUDA devices alone, and this is "
            f"{device.type}; set train.sync_batch_norm=false"
        )
    synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(backbone)  # type: ignore[no-untyped-call]
    return synchronised


def _recompute(backbone: nn.Module, config: RunConfig) -> None:
    remedy = "set runtime.activation_checkpointing=false"
    if config.train.compile:
        raise UserError(
            "runtime.activation_checkpointing: torch.compile chooses itself what it computes twice; "
            f"{remedy}, or train.compile=false"
        )
    try:
        recompute(backbone)
    except ValueError as error:
        raise UserError(
            f"runtime.activation_checkpointing: backbone {config.backbone.name}: {error}; {remedy}"
        ) from None


def batch_norm_images(backbone: nn.Module, config: RunConfig, batch_size: int, world: World) -> int | None:
    """Images that batch normalisation sees together in a training step; None where nothing normalises so."""
    if not _batch_norms(backbone):
        return None
    own = batch_size // world.size
    together = min(own, config.train.micro_batch or own)
    return together * world.size if config.train.sync_batch_norm else together


@torch.no_grad()
def _embedding_dim(backbone: nn.Module, name: str, size_px: int) -> int:
    backbone.eval()
    try:
        embeddings = backbone(torch.zeros(2, 3, size_px, size_px))
    except (RuntimeError, AssertionError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"backbone.name: {name} does not take images of {size_px} px ({str(error).splitlines()[0]}); "
            f"set backbone.size_px={size_px} where the network takes it, data.size_px, augment.crop_px, "
            "or another backbone"
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
        crop_px=section.crop_px if section.crop == "random" else None,  # Preprocess takes the middle
        erase=section.erase,
        brightness=section.brightness,
    )


def preprocess(config: RunConfig) -> Preprocess:
    """What the backbone of the configuration is fed."""
    return Preprocess(config.augment.standardize, config.augment.crop_px)


def input_px(config: RunConfig, size_px: int) -> int:
    """Height and width of the images that the backbone is fed.

    Args:
        config: of the run.
        size_px: of the images of the data.

    Raises:
        UserError: the crop is larger than they are.
    """
    crop_px = config.augment.crop_px
    if crop_px is not None and crop_px > size_px:
        raise UserError(
            f"augment.crop_px: {crop_px} px cannot be cut out of images of {size_px} px; "
            f"set data.size_px={crop_px} or more, or augment.crop_px={size_px} or less"
        )
    return crop_px or size_px
