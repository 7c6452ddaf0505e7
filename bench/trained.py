"""A trained backbone, read back from what a run left, with all that is needed to use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from bench.backbones import BACKBONES, architecture
from bench.build import preprocess
from bench.config import RunConfig, parse_config
from bench.data import Preprocess
from bench.embed import weights_dtype
from bench.weights import Weights, load_into, read_weights


@dataclass(frozen=True, eq=False)
class Trained:
    """A backbone in evaluation mode and what it wants to be fed.

    Args:
        source: the run folder or checkpoint file that it comes from.
        config: of its run.
        backbone: the weights that figures are about (the average, where one was kept), on the device.
        preprocess: of its images.
        step: optimiser steps it was trained for.
        size_px: height and width of the images of its data; None: nothing tells.
    """

    source: Path
    config: RunConfig
    backbone: nn.Module
    preprocess: Preprocess
    step: int
    size_px: int | None


def load_trained(source: Path, device: torch.device) -> Trained:
    """The model of a run folder, or of one checkpoint file; nothing is downloaded.

    A folder stands for the weights that its test figures are about: its newest whole checkpoint, or the best
    by validation where `evaluate.weights` says so.

    Raises:
        UserError: neither; or a folder without a whole checkpoint.
        BenchError: the file is no checkpoint of ours.
    """
    weights = read_weights(source, device)
    config = parse_config(weights.config, str(source))
    backbone = BACKBONES.build(config.backbone.name, {}, architecture(config.backbone.options))
    # first the type: weights of a float64 run would be rounded on their way in
    backbone = backbone.to(device, weights_dtype(config.train.precision))
    remedy = "the file is damaged, or of another version of bench"
    load_into(backbone, weights.backbone, f"{source}: backbone", remedy)
    backbone = backbone.to(memory_format=torch.channels_last).eval()
    return Trained(source, config, backbone, preprocess(config), weights.step, _size_px(weights, config))


def _size_px(weights: Weights, config: RunConfig) -> int | None:
    """What the data said; a packed set may know its size without being told."""
    size = weights.size_px or config.data.options.get("size_px")
    return size if isinstance(size, int) else None
