"""A trained backbone, read back from what a run left, with all that is needed to use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from bench.backbones import BACKBONES
from bench.build import preprocess
from bench.checkpoint import Checkpoints, load_checkpoint
from bench.config import RunConfig, parse_config
from bench.data import Preprocess
from bench.embed import weights_dtype
from bench.errors import UserError
from bench.results import RunFolder


@dataclass(frozen=True, eq=False)
class Trained:
    """A backbone in evaluation mode and what it wants to be fed.

    Args:
        source: the run folder or checkpoint file that it comes from.
        config: of its run.
        backbone: the weights that figures are about (the average, where one was kept), on the device.
        preprocess: of its images.
        step: optimiser steps it was trained for.
    """

    source: Path
    config: RunConfig
    backbone: nn.Module
    preprocess: Preprocess
    step: int


def load_trained(source: Path, device: torch.device) -> Trained:
    """The model of a run folder (its newest whole checkpoint), or of one checkpoint file.

    Raises:
        UserError: neither; or a folder without a whole checkpoint.
        BenchError: the file is no checkpoint of ours.
    """
    if source.is_dir():
        state = Checkpoints(RunFolder(source).checkpoints, kept=1).load(device)
        if state is None:
            raise UserError(f"{source}: holds no checkpoint; name the folder of a run that has been trained")
    elif source.is_file():
        state = load_checkpoint(source, device)
    else:
        raise UserError(f"{source}: no such run folder or checkpoint")
    if not {"config", "learner"} <= state.keys():
        raise UserError(f"{source}: holds no trained model of faceloss-bench")
    config = parse_config(state["config"], str(source))
    learner = state["learner"]
    backbone = BACKBONES.build(config.backbone.name, {}, config.backbone.options)
    backbone.load_state_dict(learner["ema"] or learner["backbone"])
    backbone = (
        backbone.to(device, weights_dtype(config.train.precision))
        .to(memory_format=torch.channels_last)
        .eval()
    )
    return Trained(source, config, backbone, preprocess(config), learner["step"])
