"""Everything that training changes: what a checkpoint holds and what an evaluation looks at."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from bench.data import BatchSource
from bench.distributed import ALONE, World
from bench.freeze import Freeze
from bench.loss_scale import LossScale
from bench.optim import load_state
from bench.results import Best, WarmStart
from bench.shards import Shards
from bench.window import Window
from losses import Loss


class Ema:
    """Exponential moving average of the weights; buffers (BatchNorm statistics) follow as they are.

    The decay warms up as min(decay, (1 + n) / (10 + n)): a short run is not ruled by its first weights.

    Args:
        model: whose weights are averaged; copied.
        decay: share of the old average that a step keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval()
        self.model.requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the weights after optimiser step number `step` (from 1)."""
        weight = 1.0 - min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), weight)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)


class Learner:
    """Backbone, loss, optimiser, average and batch source, and how far they have come.

    Args:
        backbone: (B, 3, H, W) -> raw embeddings (B, D).
        loss: on the device of the backbone.
        optimizer: over the parameters of both.
        source: of the batches.
        ema_decay: None keeps no average.
        world: processes that train it together.
        freeze: which weights stand still, and until when.
        warm_start: whose weights the training started from; None: none of a run's.
        scales_loss: train with a scaled loss, as fp16 needs.
        shards: of the loss; None: it is whole.
        compiles: call the backbone through torch.compile in training.
    """

    def __init__(
        self,
        backbone: nn.Module,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        source: BatchSource,
        *,
        ema_decay: float | None,
        world: World = ALONE,
        freeze: Freeze | None = None,
        warm_start: WarmStart | None = None,
        scales_loss: bool = False,
        shards: Shards | None = None,
        compiles: bool = False,
    ) -> None:
        self.world = world
        self.backbone = backbone
        self.loss = loss
        self.optimizer = optimizer
        self.source = source
        self.ema = Ema(backbone, ema_decay) if ema_decay is not None else None
        self.shards = shards or Shards(loss, world, wanted=False)
        self.loss_scale = LossScale() if scales_loss else None
        self.step = 0
        self.images = 0
        self.images_forward_only = 0
        self.validation: dict[str, float] = {}
        self.validated_step = 0
        self.best: Best | None = None
        self.warm_start = warm_start
        self.window = Window()
        backbone.train()
        loss.train()
        self.freeze = freeze or Freeze(backbone, "none", until_step=None)
        self.freeze.apply(self.step)
        self.called = _compiled(backbone) if compiles else backbone
        self._wrapped = self.called
        self._wrapped_for: tuple[bool, ...] | None = None

    @property
    def trained(self) -> nn.Module:
        """The backbone to call in training; over several processes gradients of what learns are averaged."""
        if self.world.size == 1:
            return self.called
        learning = tuple(parameter.requires_grad for parameter in self.backbone.parameters())
        if learning != self._wrapped_for:  # weights have been frozen or thawed
            self._wrapped, self._wrapped_for = self.world.parallel(self.called), learning
        return self._wrapped

    @property
    def evaluated(self) -> nn.Module:
        """The weights that figures are about: the average where one is kept."""
        return self.ema.model if self.ema else self.backbone

    @property
    def num_parameters(self) -> int:
        """Of the backbone; the loss' own do not exist when the model is used."""
        return sum(parameter.numel() for parameter in self.backbone.parameters())

    def note_validation(self, metrics: dict[str, float], best_by: str | None) -> None:
        """Take the figures of the weights as they are; the first best by `best_by` stays the best."""
        self.validation = metrics
        self.validated_step = self.step
        if best_by is None:
            return
        value = metrics[f"validation/{best_by}"]
        sign = -1.0 if best_by == "eer" else 1.0  # an error rate is better when it is lower
        if not math.isnan(value) and (self.best is None or sign * value > sign * self.best.value):
            self.best = Best(metric=f"validation/{best_by}", value=value, step=self.step)

    def state_dict(self) -> dict[str, Any]:
        """All of it; where classes are divided all processes have to ask.

        No generator has a state to keep: every draw follows from the seed and the step.
        """
        return {
            "step": self.step,
            "images": self.images,
            "images_forward_only": self.images_forward_only,
            "validation": self.validation,
            "validated_step": self.validated_step,
            "best": self.best.model_dump() if self.best else None,
            "warm_start": self.warm_start.model_dump() if self.warm_start else None,
            "window": self.window.state_dict(),
            "backbone": self.backbone.state_dict(),
            "loss": self.shards.gather(self.loss.state_dict()),
            "optimizer": self.shards.gather_optimizer(self.optimizer),
            "ema": self.ema.model.state_dict() if self.ema else None,
            "loss_scale": self.loss_scale.state_dict() if self.loss_scale else None,
            "source": self.source.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from there."""
        self.step = state["step"]
        self.images = state["images"]
        self.images_forward_only = state["images_forward_only"]
        self.validation = state["validation"]
        self.validated_step = state["validated_step"]
        self.best = Best(**state["best"]) if state["best"] else None
        self.warm_start = WarmStart(**state["warm_start"]) if state["warm_start"] else None
        self.window.load_state_dict(state["window"])
        self.backbone.load_state_dict(state["backbone"])
        self.loss.load_state_dict(self.shards.cut(state["loss"]))
        load_state(self.optimizer, self.shards.cut_optimizer(self.optimizer, state["optimizer"]))
        if self.ema:
            self.ema.model.load_state_dict(state["ema"])
        if self.loss_scale:
            self.loss_scale.load_state_dict(state["loss_scale"])
        self.source.load_state_dict(state["source"])
        self.freeze.apply(self.step)


def _compiled(backbone: nn.Module) -> nn.Module:
    """Beside the backbone, which keeps its names in checkpoints: both share the weights."""
    # torch's own random numbers: dropout draws what it draws uncompiled, and the same in both passes
    compiled: nn.Module = torch.compile(backbone, options={"fallback_random": True})  # type: ignore[assignment]
    return compiled
