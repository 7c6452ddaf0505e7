"""`init:`: a training that starts from the weights of another run, and says so in its record."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from bench.config import RunConfig, parse_config
from bench.config.yaml_file import Key, Plain
from bench.config.yaml_text import yaml_inline
from bench.errors import UserError
from bench.freeze import Freeze
from bench.results import WarmStart
from bench.train import Length
from bench.weights import load_into, read_weights
from losses import Loss


def warm_start(config: RunConfig, backbone: nn.Module, loss: Loss) -> WarmStart | None:
    """Load what `init.from` names into backbone and loss; None when it names nothing.

    Raises:
        UserError: other weights than the configuration was checked with, or weights of other shapes.
    """
    section = config.init
    if section.source is None:
        return None
    weights = read_weights(Path(section.source), torch.device("cpu"))
    checksum = weights.checksum(backbone_only=section.backbone_only)
    if checksum != section.sha256:
        raise UserError(
            f"init.from: {section.source} holds other weights than init.sha256 says "
            f"({checksum[:12]}, not {str(section.sha256)[:12]}); leave sha256 out to take them as they are"
        )
    theirs = parse_config(weights.config, section.source)
    what = f"init.from: {section.source}"
    load_into(
        backbone,
        weights.backbone,
        f"{what}: backbone",
        f"it was trained as 'backbone: {_inline(theirs)}'",
    )
    if not section.backbone_only:
        load_into(
            loss, weights.loss, f"{what}: loss {theirs.loss.name}", "set init.backbone_only=true to leave it"
        )
    return WarmStart(
        source=section.source,
        name=theirs.name,
        config_hash=theirs.hash,
        step=weights.step,
        images=weights.images,
        sha256=checksum,
        backbone_only=section.backbone_only,
    )


def freeze(config: RunConfig, backbone: nn.Module, loss: Loss, length: Length) -> Freeze:
    """The standing still that `init.freeze` asks for.

    Raises:
        UserError: the backbone does not say what its head is; nothing would be left to train.
    """
    section = config.init
    epochs = section.freeze_epochs
    until_step = None if epochs is None else round(epochs * length.epoch_steps)
    try:
        standing = Freeze(backbone, section.freeze, until_step=until_step)
    except ValueError as error:
        raise UserError(
            f"init.freeze: {section.freeze}: backbone {config.backbone.name}: {error}; set init.freeze=none"
        ) from None
    has_parameters = any(parameter.requires_grad for parameter in loss.parameters())
    if section.freeze == "backbone" and until_step != 0 and not has_parameters:
        raise UserError(
            f"init.freeze: backbone: loss {config.loss.name} has no weights of its own, so nothing would be "
            "left to train; set init.freeze=all_but_head"
        )
    return standing


def _inline(config: RunConfig) -> str:
    section: dict[Key, Plain] = dict(config.backbone.tree().items())
    return yaml_inline(section)
