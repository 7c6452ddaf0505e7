"""A backbone on a pair protocol: embed, measure distances, verify."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.config import EvaluateConfig, RunConfig
from bench.data import PairProtocol, Preprocess
from bench.distributed import ALONE, World
from bench.embed import Precision, embed
from bench.errors import BenchError
from bench.learner import Learner
from bench.memory import evaluation_message, is_out_of_memory
from bench.results import Alignment, Preprocessing, ProtocolRecord, Thresholds, as_documents, deployed_fars
from bench.verification import (
    Metric,
    Verification,
    find_thresholds,
    fold_distances,
    normalize,
    pair_distances,
    verify,
    wilson_intervals,
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of one protocol and the distances behind them.

    Args:
        protocol: what was evaluated.
        verification: the figures.
        distances: (P,) float64, or (F, P) with subtract-mean, where each test fold has its own.
        deployed_distances: (P,) float64, what two images alone can tell: never with a mean subtracted.
    """

    protocol: PairProtocol
    verification: Verification
    distances: NDArray[np.float64]
    deployed_distances: NDArray[np.float64]

    @property
    def test_distances(self) -> NDArray[np.float64]:
        """(P,): each pair's distance as its own fold's test sees it."""
        if self.distances.ndim == 1:
            return self.distances
        return self.distances[self.protocol.fold, np.arange(len(self.protocol))]


def evaluate(
    backbone: nn.Module,
    protocol: PairProtocol,
    config: EvaluateConfig,
    *,
    device: torch.device,
    preprocess: Preprocess,
    precision: Precision,
    check: Callable[[], None] = lambda: None,
    world: World = ALONE,
) -> Evaluation:
    """Verify a backbone on a protocol, by DESIGN's definitions: embeddings are L2-normalised first.

    Args:
        backbone: in any mode; used in evaluation mode.
        protocol: pairs in folds.
        config: metric, flip, mean subtraction, FARs.
        device: where the backbone is.
        preprocess: as in training.
        precision: arithmetic of the backbone, as in training.
        check: called between batches; may raise to stop.
        world: processes that divide the embedding; each gets the whole evaluation.

    Raises:
        BenchError: out of memory.
    """
    try:
        embeddings = embed(
            backbone,
            protocol.faces.images,
            device=device,
            batch_size=config.batch_size,
            preprocess=preprocess,
            flip=config.flip,
            precision=precision,
            check=check,
            world=world,
        )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        message = evaluation_message(str(device), config.batch_size, "evaluate.batch_size=")
        raise BenchError(f"{protocol.name}: {message}") from None
    if config.flip != "concat":  # there each half has unit norm already, as facenet has it
        embeddings = normalize(embeddings)
    left, right = embeddings[protocol.left], embeddings[protocol.right]
    distances, deployed = protocol_distances(
        left, right, protocol.fold, metric=config.metric, subtract_mean=config.subtract_mean
    )
    figures = verify(distances, protocol.same, protocol.fold, fars=config.fars)
    return Evaluation(protocol, figures, distances, deployed)


def protocol_distances(
    left: NDArray[np.floating],
    right: NDArray[np.floating],
    fold: NDArray[np.integer],
    *,
    metric: Metric,
    subtract_mean: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances that the protocol's figures are of, and those that a threshold can be deployed for.

    They differ under subtract-mean alone: two images that somebody holds up have no training folds.

    Shape:
        left, right: (P, D) as they are to be compared; fold: (P,); returns (P,) or (F, P), and (P,).
    """
    deployed = pair_distances(left, right, metric=metric)
    if not subtract_mean:
        return deployed, deployed
    return fold_distances(left, right, fold, metric=metric), deployed


def thresholds_document(
    evaluation: Evaluation,
    config: EvaluateConfig,
    *,
    source: str,
    size_px: int,
    preprocess: Preprocess,
    alignment: Alignment | None,
) -> Thresholds:
    """Thresholds of a backbone from the pairs of `evaluation`, which `source` names."""
    found = find_thresholds(
        evaluation.deployed_distances,
        evaluation.protocol.same,
        fars=deployed_fars(config.fars),
        source=source,
    )
    return Thresholds(
        metric=config.metric,
        normalized=True,
        preprocessing=Preprocessing(
            size_px=size_px,
            crop_px=preprocess.crop_px,
            standardization=preprocess.standardization,
            flip=config.flip,
            alignment=alignment,
        ),
        data={source: as_documents(found)},
    )


def evaluate_learner(
    learner: Learner,
    protocol: PairProtocol,
    config: RunConfig,
    *,
    preprocess: Preprocess,
    check: Callable[[], None],
) -> Evaluation:
    """Verify the weights that figures are about, on all processes that train them."""
    world = learner.world
    backbone = learner.evaluated
    world.unify_buffers(backbone)
    return evaluate(
        backbone,
        protocol,
        config.evaluate,
        device=next(backbone.parameters()).device,
        preprocess=preprocess,
        precision=config.train.precision,
        # a signal to one of several processes waits for the next step, where all stop together
        check=check if world.size == 1 else lambda: None,
        world=world,
    )


def protocol_record(evaluation: Evaluation, config: EvaluateConfig) -> ProtocolRecord:
    """The evaluation as the run record keeps it."""
    figures, protocol = evaluation.verification, evaluation.protocol
    intervals = wilson_intervals(evaluation.distances, protocol.same, protocol.fold, fars=config.fars)
    return ProtocolRecord(
        metrics=dict(figures.metrics),
        reasons=dict(figures.reasons),
        warnings=dict(figures.warnings),
        intervals={name: (interval.low, interval.high) for name, interval in intervals.items()},
        fold_accuracy=tuple(figures.fold_accuracy),
        fold_threshold=tuple(figures.fold_threshold),
        val_facenet={far: dict(values) for far, values in figures.val_facenet.items()},
        val_exact={far: dict(values) for far, values in figures.val_exact.items()},
        num_genuine=figures.num_genuine,
        num_impostor=figures.num_impostor,
        num_skipped=evaluation.protocol.num_skipped,
        metric=config.metric,
        flip=config.flip,
        subtract_mean=config.subtract_mean,
    )
