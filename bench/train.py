"""The training loop. What touches the gradient stands here, in order, and nothing else does."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from bench import rows
from bench.ahead import Ahead, Ready
from bench.config import RunConfig
from bench.cores import Cores
from bench.data import Augment, Batch, FaceSet, Preprocess
from bench.data.batches import Draw, Indices, step_seed, torch_seed
from bench.device import seed_random
from bench.distributed import World
from bench.embed import backbone_input, forward
from bench.errors import Killed, TrainingError, UserError
from bench.interrupts import Interrupts
from bench.learner import Learner
from bench.memory import is_out_of_memory, step_message
from bench.passes import Passes, pieces
from bench.progress import Progress
from bench.results import MetricsLine
from bench.schedules import Schedule
from bench.timing import Clock
from losses import LossOutput, collapse_warning

_ENDLESS = 1e12  # steps
_SHOWN = 5  # images that a message names


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


def length_in_words(config: RunConfig, length: Length) -> str:
    """`60 steps`; where steps and epochs are both limited, also which of the two ends training.

    Returns:
        `60 steps (train.max_steps; 6 epochs would be 144)`, say.
    """
    limit, epochs = config.train.max_steps, config.train.epochs
    if limit is None:
        return f"{length.total_steps} steps"
    by_epochs = max(1, math.ceil(epochs * length.epoch_steps - 1e-9))
    if by_epochs > limit:
        return f"{length.total_steps} steps (train.max_steps; {epochs:g} epochs would be {by_epochs})"
    return f"{length.total_steps} steps ({epochs:g} epochs; train.max_steps={limit} is not reached)"


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
        world: processes that train together.
    """

    faces: FaceSet
    augment: Augment
    preprocess: Preprocess
    schedule: Schedule
    length: Length
    config: RunConfig
    device: torch.device
    world: World

    def pixels(self, indices: Indices) -> Tensor:
        """(B, 3, H, W) uint8, on the device."""
        return torch.from_numpy(self.faces.images[indices]).to(self.device)

    def ready(self, batch: Batch, place: Tensor | None = None) -> Ready:
        """What this process trains on in the step of that batch; the images in that place, if they fit."""
        share = self.world.share(len(batch.indices))
        pixels = self.augment(self.pixels(batch.indices[share]), batch.number, len(batch.indices), share)
        # of all processes, as the embeddings will be
        labels = torch.from_numpy(self.faces.labels[batch.indices]).to(self.device)
        return Ready(batch, backbone_input(pixels, self.preprocess, place), labels)

    def embeddings(self, backbone: nn.Module, images: Tensor) -> Tensor:
        """(B, D), raw, by the current weights, of what the backbone is fed."""
        return forward(backbone, images, self.config.train.precision)

    @torch.no_grad()
    def selection_embeddings(
        self,
        learner: Learner,
        indices: Indices,
        rows: slice,
        *,
        batch_size: int,
        training: bool,
        number: int,
    ) -> Tensor:
        """Raw embeddings (n, D) of those rows of `indices`, as `Embed` says: forward only."""
        modes = [(module, module.training) for module in learner.backbone.modules()]
        if not training:  # else as in training, where parts may be frozen
            learner.backbone.eval()
        embeddings = []
        for share in pieces(rows, batch_size):
            pixels = self.pixels(indices[share])
            if training:
                pixels = self.augment(pixels, number, len(indices), share, draw=Draw.SELECTION)
            embeddings.append(self.embeddings(learner.backbone, backbone_input(pixels, self.preprocess)))
        for module, was_training in modes:
            module.training = was_training
        return torch.cat(embeddings)


class Metrics(Protocol):
    """Takes the metrics of a step."""

    def append(self, line: MetricsLine) -> None:
        """One line of metrics.jsonl."""
        ...


@dataclass(frozen=True, eq=False)
class Outside:
    """What the loop tells the world, and what it asks of it.

    Args:
        validate: evaluates the learner on the validation protocol; returns `validation/*` metrics.
        save: writes a checkpoint of the learner.
        writer: of metrics.jsonl, or of nothing.
        progress: hears of every logged step.
        interrupts: tells whether a signal has come.
        clock: adds up the parts.
        stepped: called after every step.
        said: kinds of warnings that need not be said twice.
        cores: tells how they are shared with other programs.
    """

    validate: Callable[[], Mapping[str, float]]
    save: Callable[[], None]
    writer: Metrics
    progress: Progress
    interrupts: Interrupts
    clock: Clock
    stepped: Callable[[], None] = lambda: None
    said: set[str] = field(default_factory=set)
    cores: Cores = field(default_factory=Cores)


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

    def together(is_due: bool) -> bool:
        # all processes hold a part of what is saved, and their clocks differ
        return recipe.world.any(is_due) if learner.shards.is_divided else is_due

    beside = _takes_two_threads(recipe.device, recipe.world)
    with outside.interrupts.held(), Ahead(learner.source, recipe.ready, beside=beside) as ahead:
        try:
            learner.window.skip_time()
            while True:
                if length.evaluates_after(learner.step) and learner.validated_step < learner.step:
                    _validate(learner, outside, recipe.config.evaluate.best)
                    save()
                elif together(time.monotonic() - saved_at >= recipe.config.runtime.checkpoint_every_s):
                    save()
                if learner.step == length.total_steps:
                    return
                _stop_if_told(recipe.world, outside.interrupts)
                try:
                    _step(learner, recipe, outside, ahead)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    raise TrainingError(_does_not_fit(learner, recipe, outside.clock)) from None
                outside.stepped()
        except Killed:
            save()
            raise


def _takes_two_threads(device: torch.device, world: World) -> bool:
    # of MPS nobody promises it; a GPU that is not named is this process' own in its main thread alone
    return device.type == "cpu" or (device.type == "cuda" and (device.index is not None or world.size == 1))


def _stop_if_told(world: World, interrupts: Interrupts) -> None:
    # all processes: a signal to one of them stops all after the same step
    if world.any(interrupts.received is not None):
        raise Killed(interrupts.received or "a signal to another process")


def _step(learner: Learner, recipe: Recipe, outside: Outside, ahead: Ahead) -> None:
    clock, config, length, world = outside.clock, recipe.config, recipe.length, recipe.world
    learner.freeze.apply(learner.step)
    loss, optimizer, scale = learner.loss, learner.optimizer, learner.loss_scale

    def embed(indices: Indices, *, batch_size: int, training: bool = False, number: int = 0) -> Tensor:
        learner.images_forward_only += len(indices)
        return world.gather_all(
            lambda rows: recipe.selection_embeddings(
                learner, indices, rows, batch_size=batch_size, training=training, number=number
            ),
            len(indices),
        )

    with clock.part("data"):
        # dropout differs between processes, as it does between the rows of one batch
        seed_random(step_seed(config.seed, Draw.FORWARD, learner.step, world.rank), recipe.device)
        ready = ahead.take(embed, more=learner.step + 1 < length.total_steps)
        batch = ready.batch
    with clock.part("forward"):
        passes = Passes(
            learner.called,
            learner.trained,
            recipe.embeddings,
            ready.images,
            micro_batch=config.train.micro_batch,
            recomputes=config.runtime.activation_checkpointing,
            seed=functools.partial(torch_seed, config.seed, Draw.FORWARD, learner.step, world.rank),
            world=world,
        )
        embeddings = world.gather(passes.forward())
    with clock.part("loss"):
        # a miner that draws draws alike everywhere
        seed_random(step_seed(config.seed, Draw.LOSS, learner.step), recipe.device)
        loss.set_progress(learner.step / length.epoch_steps)
        try:
            output = loss(embeddings, ready.labels)
        except ValueError as error:  # a batch that it cannot use
            raise TrainingError(f"step {learner.step + 1}: loss: {config.loss.name}: {error}") from error
        rate = recipe.schedule(learner.step)
        if not math.isfinite(output.total.item()):
            seen = not_finite_rows(recipe.faces, batch.indices, embeddings)
            raise TrainingError(_not_finite(output, learner.step + 1, rate, seen))
    with clock.part("backward"):
        optimizer.zero_grad(set_to_none=True)
        passes.backward(scale.scaled(output.total) if scale else output.total)
        world.unify(loss, learner.shards.holds)
    with clock.part("optimizer"):
        extra: dict[str, float] = {"learning_rate": rate}
        for group in optimizer.param_groups:
            group["lr"] = rate
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if scale:
            scale.unscale(gradients)
        norm = learner.shards.total_norm(parameters)
        gradient_norm = norm.item()
        is_finite = math.isfinite(gradient_norm)
        if scale:
            extra |= {"loss_scale": scale.scale, "step_skipped": float(not is_finite)}
            scale.update(finite=is_finite)
        # in fp16 a gradient that overflows is a sign to scale less, as long as the loss is scaled up at all
        if not is_finite and not (scale and scale.scale >= 1.0):
            raise TrainingError(
                f"step {learner.step + 1}: the loss is finite ({float(output.total.detach()):.4g}), its "
                f"gradient is not; the weights of step {learner.step} are untouched; look for a root or "
                "logarithm at 0"
            )
        extra["gradient_norm"] = gradient_norm if is_finite else math.nan
        if is_finite:
            if config.train.clip_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, config.train.clip_norm, norm)
            rows.step(optimizer)
        learner.step += 1
        learner.images += len(batch.indices)
        if learner.ema and is_finite:
            learner.ema.update(learner.backbone, learner.step)
    with clock.part("logging"):
        learner.window.add(output, extra, len(batch.indices))
        if learner.step % config.train.log_every == 0 or learner.step == length.total_steps:
            metrics = learner.window.means()
            outside.writer.append(MetricsLine(learner.step, _now_ms(), metrics))
            _warn_of_collapse(metrics, learner.step, outside)
            if recipe.device.type == "cpu" and world.size == 1:  # other processes of a run are no strangers
                _warn_of_neighbours(config, learner.step, outside)
            outside.progress.step(
                learner.step, length.total_steps, metrics["train/images_per_s"], metrics["train/loss"]
            )


def _validate(learner: Learner, outside: Outside, best_by: str | None) -> None:
    with outside.clock.part("validation"):
        learner.note_validation(dict(outside.validate()), best_by)
    outside.writer.append(MetricsLine(learner.step, _now_ms(), learner.validation))
    outside.progress.validation(learner.step, learner.validation)


def _warn_of_collapse(metrics: Mapping[str, float], step: int, outside: Outside) -> None:
    warning = collapse_warning({name.removeprefix("train/"): value for name, value in metrics.items()})
    if warning and "collapse" not in outside.said:
        outside.said.add("collapse")
        outside.progress.note(f"step {step}: {warning}")


def _warn_of_neighbours(config: RunConfig, step: int, outside: Outside) -> None:
    shared = None if "neighbours" in outside.said else outside.cores.shared()
    warning = shared and shared.warning(torch.get_num_threads(), config.train.precision)
    if warning:
        outside.said.add("neighbours")
        outside.progress.note(f"step {step}: {warning}")


def not_finite_rows(faces: FaceSet, indices: Indices, embeddings: Tensor) -> str:
    """Which images of the batch have embeddings that are not finite; their names, or their numbers."""
    rows = indices[~torch.isfinite(embeddings.detach()).all(dim=1).cpu().numpy()]
    if not len(rows):
        return "all embeddings are finite"
    if len(rows) == len(indices):
        return "no embedding is finite"
    shown = [faces.names[row] if faces.names else str(row) for row in rows[:_SHOWN].tolist()]
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"the embeddings of images {', '.join(shown)}{more} are not finite"


def _not_finite(output: LossOutput, step: int, rate: float, seen: str) -> str:
    parts = ", ".join(f"{name} {float(value):.4g}" for name, value in output.parts.items())
    return (
        f"step {step}: the loss is {float(output.total.detach())} ({parts}); {seen}; the weights of step "
        f"{step - 1} are untouched; lower optimizer.learning_rate (now {rate:.3g}) or set train.clip_norm=1"
    )


def _does_not_fit(learner: Learner, recipe: Recipe, clock: Clock) -> str:
    batch = learner.source.size
    share = batch // recipe.world.size
    at_once = min(recipe.config.train.micro_batch or share, share)
    device = str(recipe.device)
    return step_message(learner.step + 1, clock.last_part, device, at_once=at_once, batch=batch)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
