"""The training loop. What touches the gradient stands here, in order, and nothing else does."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.config import RunConfig
from bench.data import Augment, FaceSet, Preprocess
from bench.data.batches import Indices
from bench.embed import forward
from bench.errors import Killed, TrainingError, UserError
from bench.interrupts import Interrupts
from bench.learner import Learner
from bench.optim import Schedule
from bench.progress import Progress
from bench.results import MetricsLine, MetricsWriter
from bench.timing import Clock
from losses import LossOutput, collapse_warning

_ENDLESS = 1e12  # steps


@dataclass(frozen=True)
class Length:
    """How long the training is, in optimiser steps, and how often it is looked at."""

    total_steps: int
    epoch_steps: int
    evaluate_steps: int

    def evaluates_after(self, step: int) -> bool:
        """Whether the validation protocol is due after `step` steps."""
        return step > 0 and (step % self.evaluate_steps == 0 or step == self.total_steps)


def training_length(config: RunConfig, num_images: int, batch_size: int) -> Length:
    """An epoch is `train.epoch_size` batches, or one pass over the images; `train.max_steps` cuts it."""
    epoch_steps = config.train.epoch_size or max(1, num_images // batch_size)
    wanted = config.train.epochs * epoch_steps
    if wanted > _ENDLESS:
        raise UserError(
            f"train.epochs: {config.train.epochs:g} epochs of {epoch_steps} steps would never end"
        )
    total_steps = max(1, math.ceil(wanted - 1e-9))  # 1.1 x 10 is 11.000000000000002 and means 11
    if config.train.max_steps is not None:
        total_steps = min(total_steps, config.train.max_steps)
    return Length(
        total_steps, epoch_steps, max(1, round(min(config.evaluate.every_epochs * epoch_steps, total_steps)))
    )


@dataclass(frozen=True, eq=False)
class Recipe:
    """What stays as it is from the first step to the last.

    Args:
        faces: to train on.
        augment: changes them, batch by batch.
        preprocess: of the pixels, in training and evaluation alike.
        schedule: step -> learning rate.
        length: of the training.
        config: of the run.
        device: to compute on.
    """

    faces: FaceSet
    augment: Augment
    preprocess: Preprocess
    schedule: Schedule
    length: Length
    config: RunConfig
    device: torch.device

    def pixels(self, indices: Indices) -> Tensor:
        """(B, 3, H, W) uint8, on the device."""
        return torch.from_numpy(self.faces.images[indices]).to(self.device)

    def labels(self, indices: Indices) -> Tensor:
        """(B,) int64, on the device."""
        return torch.from_numpy(self.faces.labels[indices]).to(self.device)

    def embeddings(self, learner: Learner, pixels: Tensor) -> Tensor:
        """(B, D) float32, raw, by the current weights."""
        return forward(
            learner.backbone,
            pixels,
            preprocess=self.preprocess,
            precision=self.config.train.precision,
        )


@dataclass(frozen=True, eq=False)
class Outside:
    """What the loop tells the world, and what it asks of it.

    Args:
        validate: evaluates the learner on the validation protocol; returns `validation/*` metrics.
        save: writes a checkpoint of the learner.
        writer: of metrics.jsonl.
        progress: hears of every logged step.
        interrupts: tells whether a signal has come.
        clock: adds up the parts.
        said: kinds of warnings that need not be said twice.
    """

    validate: Callable[[], Mapping[str, float]]
    save: Callable[[], None]
    writer: MetricsWriter
    progress: Progress
    interrupts: Interrupts
    clock: Clock
    said: set[str] = field(default_factory=set)


def train(learner: Learner, recipe: Recipe, outside: Outside) -> None:
    """Train from where the learner stands to the end.

    A checkpoint is written at every evaluation, every `runtime.checkpoint_every_s`, and on a signal.

    Raises:
        TrainingError: a loss that is not finite, before it could touch the weights; names the step.
        Killed: SIGINT or SIGTERM came; a checkpoint of the last whole step has been written.
    """
    length = recipe.length
    saved_at = time.monotonic()

    def save() -> None:
        nonlocal saved_at
        with outside.clock.part("checkpoint"):
            outside.save()
        learner.window.skip_time()
        saved_at = time.monotonic()

    with outside.interrupts.held():
        try:
            learner.window.skip_time()
            while True:
                if length.evaluates_after(learner.step) and learner.validated_step < learner.step:
                    _validate(learner, outside)
                    save()
                elif time.monotonic() - saved_at >= recipe.config.runtime.checkpoint_every_s:
                    save()
                if learner.step == length.total_steps:
                    return
                outside.interrupts.check()
                _step(learner, recipe, outside)
        except Killed:
            save()
            raise


def _step(learner: Learner, recipe: Recipe, outside: Outside) -> None:
    clock, config, length = outside.clock, recipe.config, recipe.length
    loss, optimizer = learner.loss, learner.optimizer

    def embed(indices: Indices) -> Tensor:
        # for sources that select by distance: forward only, by the current weights
        learner.images_forward_only += len(indices)
        with torch.no_grad():
            return recipe.embeddings(learner, recipe.pixels(indices))

    with clock.part("data"):
        batch = learner.source.next(embed)
        pixels = recipe.augment(recipe.pixels(batch.indices), batch.number, len(batch.indices))
        labels = recipe.labels(batch.indices)
    with clock.part("forward"):
        embeddings = recipe.embeddings(learner, pixels)
    with clock.part("loss"):
        loss.set_progress(learner.step / length.epoch_steps)
        try:
            output = loss(embeddings, labels)
        except ValueError as error:  # a batch that it cannot use
            raise TrainingError(f"step {learner.step + 1}: loss: {config.loss.name}: {error}") from error
        rate = recipe.schedule(learner.step)
        if not torch.isfinite(output.total):
            raise TrainingError(_not_finite(output, learner.step + 1, rate))
    with clock.part("backward"):
        optimizer.zero_grad(set_to_none=True)
        output.total.backward()
    with clock.part("optimizer"):
        extra = {"learning_rate": rate}
        for group in optimizer.param_groups:
            group["lr"] = rate
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"step {learner.step + 1}: the loss is finite ({float(output.total.detach()):.4g}), its "
                f"gradient is not; the weights of step {learner.step} are untouched; look for a root or "
                "logarithm at 0"
            )
        extra["gradient_norm"] = float(norm)
        if config.train.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, config.train.clip_norm, norm)
        optimizer.step()
        learner.step += 1
        learner.images += len(batch.indices)
        if learner.ema:
            learner.ema.update(learner.backbone, learner.step)
    with clock.part("logging"):
        learner.window.add(output, extra, len(batch.indices))
        if learner.step % config.train.log_every == 0 or learner.step == length.total_steps:
            metrics = learner.window.means()
            outside.writer.append(MetricsLine(learner.step, _now_ms(), metrics))
            _warn_of_collapse(metrics, learner.step, outside)
            outside.progress.step(
                learner.step, length.total_steps, metrics["train/images_per_s"], metrics["train/loss"]
            )


def _validate(learner: Learner, outside: Outside) -> None:
    with outside.clock.part("validation"):
        learner.validation = dict(outside.validate())
    learner.validated_step = learner.step
    outside.writer.append(MetricsLine(learner.step, _now_ms(), learner.validation))
    outside.progress.validation(learner.step, learner.validation)


def _warn_of_collapse(metrics: Mapping[str, float], step: int, outside: Outside) -> None:
    warning = collapse_warning({name.removeprefix("train/"): value for name, value in metrics.items()})
    if warning and "collapse" not in outside.said:
        outside.said.add("collapse")
        outside.progress.stage(f"step {step}: {warning}")


def _not_finite(output: LossOutput, step: int, rate: float) -> str:
    parts = ", ".join(f"{name} {float(value):.4g}" for name, value in output.parts.items())
    return (
        f"step {step}: the loss is {float(output.total.detach())} ({parts}); the weights of step {step - 1} "
        f"are untouched; lower optimizer.learning_rate (now {rate:.3g}) or set train.clip_norm=1"
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
