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
from bench.results import RunFolder, read_thresholds
from bench.weights import read_weights


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

    @property
    def size_px(self) -> int | None:
        """Height and width of its images; None where the run's data alone tells (a pack), and is not here.

        Raises:
            UserError: the run's thresholds.json, which tells it then, is damaged.
        """
        size = self.config.data.options.get("size_px")
        if isinstance(size, int):
            return size
        thresholds = RunFolder(self.source).thresholds
        return read_thresholds(thresholds).preprocessing.size_px if thresholds.is_file() else None


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
    backbone.load_state_dict(weights.backbone)
    backbone = backbone.to(device, weights_dtype(config.train.precision))
    backbone = backbone.to(memory_format=torch.channels_last).eval()
    return Trained(source, config, backbone, preprocess(config), weights.step)
