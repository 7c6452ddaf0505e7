"""The weights that a run left, and a checksum of what they are, whatever file they lie in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from bench.checkpoint import Checkpoints, load_checkpoint
from bench.errors import UserError
from bench.results import RunFolder

State = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Weights:
    """What is in a checkpoint that another run, or a user of the model, wants.

    Args:
        source: the run folder or checkpoint file that they come from.
        config: the text of its run's configuration.
        step: optimiser steps that they were trained for.
        images: images that they were trained on, in the runs that they came from too.
        backbone: state of the backbone: the average of the weights, where one was kept.
        loss: state of the loss.
        size_px: height and width of the images of its data; None where the checkpoint does not say.
    """

    source: Path
    config: str
    step: int
    images: int
    backbone: State
    loss: State
    size_px: int | None = None

    def checksum(self, *, backbone_only: bool) -> str:
        """Hex sha256 of names, types, shapes and values; the same in every file and on every device."""
        digest = hashlib.sha256()
        for part, state in (("backbone", self.backbone), ("loss", {} if backbone_only else self.loss)):
            for name in sorted(state):
                value = state[name]
                digest.update(f"{part}.{name}\0".encode())
                digest.update(_bytes(value) if isinstance(value, Tensor) else repr(value).encode())
        return digest.hexdigest()


def read_weights(source: Path, device: torch.device) -> Weights:
    """Of a run folder, the weights that its test figures are about; or those of one checkpoint file.

    Raises:
        UserError: neither; or a folder without a whole checkpoint; or a file of something else.
        BenchError: the file is no checkpoint.
    """
    if source.is_dir():
        checkpoints = Checkpoints(RunFolder(source).checkpoints, kept=1)
        state = checkpoints.load(device)
        if state is None:
            raise UserError(f"{source}: holds no checkpoint; name the folder of a run that has been trained")
        if state.get("tested") == "best":
            state = checkpoints.load_best(device) or state
    elif source.is_file():
        state = load_checkpoint(source, device)
    else:
        raise UserError(f"{source}: no such run folder or checkpoint")
    if not {"config", "learner"} <= state.keys():
        raise UserError(f"{source}: holds no trained model of faceloss-bench")
    try:
        held = _Held.model_validate(state)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{source}: holds no trained model of faceloss-bench: {where}: {first['msg']}"
        ) from None
    learner, states = held.learner, state["learner"]
    # as they were saved: torch keeps versions beside them
    backbone, loss = states["ema"] or states["backbone"], states["loss"]
    for part in (backbone, loss):
        for name, value in part.items():
            if isinstance(value, Tensor) and not is_plain(value):
                raise UserError(
                    f"{source}: holds no trained model of faceloss-bench: {name} holds no numbers"
                )
    return Weights(
        source,
        held.config,
        learner.step,
        learner.images + (learner.warm_start.images if learner.warm_start else 0),
        backbone,
        loss,
        held.size_px,
    )


class _Part(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True, strict=True, extra="ignore")


class _WarmStart(_Part):
    images: int


class _Learner(_Part):
    step: int
    images: int
    warm_start: _WarmStart | None
    backbone: dict[str, Any]
    loss: dict[str, Any]
    ema: dict[str, Any] | None


class _Held(_Part):
    """What a checkpoint must hold to be used: anybody may have made it."""

    config: str
    learner: _Learner
    size_px: int | None = None


def is_plain(value: object) -> TypeGuard[Tensor]:
    """A tensor that holds a real number for each of its entries: not sparse, complex or empty inside."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type != "meta"
        and not value.is_complex()
        and not value.is_quantized
    )


def load_into(module: nn.Module, state: State, what: str, remedy: str) -> None:
    """Load a state into a module that has exactly its parameters.

    Args:
        module: to load into.
        state: name -> value.
        what: what the state belongs to, for messages ("init.from: runs/x: backbone").
        remedy: what helps when they do not fit.

    Raises:
        UserError: names the first parameter that does not fit, with its shapes.
    """
    own = module.state_dict()
    for name, value in own.items():
        if name not in state:
            raise UserError(f"{what}: lacks {name}; {remedy}")
        if not isinstance(value, Tensor):
            continue
        given = state[name]
        if not is_plain(given):
            raise UserError(f"{what}: {name} is no tensor of plain numbers; {remedy}")
        if tuple(value.shape) != tuple(given.shape):
            raise UserError(
                f"{what}: {name} is {tuple(given.shape)} there and {tuple(value.shape)} here; {remedy}"
            )
    for name in state:
        if name not in own:
            raise UserError(f"{what}: has {name}, which is not here; {remedy}")
    module.load_state_dict(state)


def _bytes(tensor: Tensor) -> bytes:
    header = f"{tensor.dtype} {tuple(tensor.shape)}\0".encode()
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return header + flat.numpy().tobytes()
