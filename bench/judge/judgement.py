"""Figures of one protocol with intervals, warnings and thresholds, from embeddings or from distances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from bench.errors import UserError
from bench.evaluate import protocol_distances
from bench.judge.pair_lists import PairList
from bench.results import ProtocolRecord, Threshold, as_documents, deployed_fars
from bench.verification import (
    Interval,
    Metric,
    Verification,
    bootstrap_intervals,
    d_prime,
    det,
    distances_under_test,
    find_thresholds,
    normalize,
    roc,
    verify,
    wilson_intervals,
)

IntervalKind = Literal["auto", "wilson", "pair", "identity"]
Floats = NDArray[np.float64]

# a replicate costs about as much as the figures themselves, so a thousand of them take minutes from here on
_BOOTSTRAP_UP_TO = 200_000


@dataclass(frozen=True, slots=True)
class Settings:
    """How embeddings are compared and what is told of it.

    Args:
        metric: the distance.
        normalize: divide embeddings by their norm first.
        subtract_mean: the mean over both sides of the training folds' pairs.
        fars: at which VAL is reported.
        intervals: wilson (proportions only); bootstrap by pair or by identity; auto is by pair up to
            200,000 pairs, wilson beyond.
        replicates: of the bootstrap.
    """

    metric: Metric = "sqeuclidean"
    normalize: bool = True
    subtract_mean: bool = False
    fars: tuple[float, ...] = (1e-3,)
    intervals: IntervalKind = "auto"
    replicates: int = 1000


@dataclass(frozen=True, eq=False)
class Judgement:
    """What came out for one protocol.

    Args:
        pairs: the protocol.
        distances: (P,), each pair's when its own fold is under test.
        figures: by DESIGN's definitions.
        intervals: figure -> interval.
        d_prime: separation of the two kinds, in standard deviations.
        thresholds: FAR -> threshold to deploy.
        metric: None where distances were given.
        flip: None where no image was embedded here.
        normalized: None where distances were given.
        subtract_mean: whether the figures are of distances with a mean subtracted.
    """

    pairs: PairList
    distances: Floats
    figures: Verification
    intervals: Mapping[str, Interval]
    d_prime: float
    thresholds: Mapping[str, Threshold]
    metric: Metric | None
    flip: str | None
    normalized: bool | None
    subtract_mean: bool


def judge_embeddings(
    pairs: PairList, embeddings: NDArray[np.floating], settings: Settings, *, flip: str | None, source: str
) -> Judgement:
    """Judge the embeddings of a protocol's images.

    Args:
        pairs: the protocol.
        embeddings: (N, D) in the order of `pairs.images`.
        settings: how to compare.
        flip: how the images were embedded. With concat each half has unit norm already, and stays so.
        source: where the embeddings come from, for messages.

    Raises:
        UserError: embeddings or pairs that no figure can be taken of.
    """
    try:
        if settings.normalize and flip != "concat":
            embeddings = normalize(embeddings)
        distances, deployed = protocol_distances(
            embeddings[pairs.left],
            embeddings[pairs.right],
            pairs.fold,
            metric=settings.metric,
            subtract_mean=settings.subtract_mean,
        )
    except ValueError as error:
        raise UserError(f"{source}: {pairs.name}: {error}") from None
    return _judge(
        pairs, distances, deployed, settings, settings.metric, flip, settings.normalize, source=source
    )


def judge_distances(
    pairs: PairList, distances: NDArray[np.floating], settings: Settings, *, source: str
) -> Judgement:
    """Judge distances that were made elsewhere.

    Raises:
        UserError: distances or pairs that no figure can be taken of.
    """
    return _judge(pairs, distances, distances, settings, None, None, None, source=source)


def _judge(
    pairs: PairList,
    distances: NDArray[np.floating],
    deployed: NDArray[np.floating],
    settings: Settings,
    metric: Metric | None,
    flip: str | None,
    normalized: bool | None,
    *,
    source: str,
) -> Judgement:
    try:
        figures = verify(distances, pairs.same, pairs.fold, fars=settings.fars)
        tested = distances_under_test(np.asarray(distances, np.float64), pairs.fold)
        found = find_thresholds(
            deployed, pairs.same, fars=deployed_fars(settings.fars), source=f"{pairs.name}, all folds"
        )
        return Judgement(
            pairs,
            tested,
            figures,
            _intervals(pairs, distances, settings),
            d_prime(tested, pairs.same),
            as_documents(found),
            metric,
            flip,
            normalized,
            settings.subtract_mean and metric is not None,
        )
    except ValueError as error:
        raise UserError(f"{source}: {pairs.name}: {error}") from None


def _intervals(
    pairs: PairList, distances: NDArray[np.floating], settings: Settings
) -> Mapping[str, Interval]:
    kind = settings.intervals
    if kind == "auto":
        kind = "pair" if len(pairs) <= _BOOTSTRAP_UP_TO else "wilson"
    if kind == "wilson":
        return wilson_intervals(distances, pairs.same, pairs.fold, fars=settings.fars)
    if kind == "identity" and pairs.identities is None:
        raise UserError(
            f"{pairs.name}: nothing tells who is on the images, so people cannot be drawn; "
            "use --intervals pair"
        )
    return bootstrap_intervals(
        distances,
        pairs.same,
        pairs.fold,
        fars=settings.fars,
        identities=pairs.identities if kind == "identity" else None,
        replicates=settings.replicates,
    )


def document(judgement: Judgement, *, curves: bool = False) -> dict[str, JsonValue]:
    """The judgement as JSON: figures under their own names at the top, nan and inf as null.

    `reasons` says why a figure is null, `warnings` where impostors are too few for a FAR.

    Args:
        judgement: what to write.
        curves: also the points of ROC and DET.
    """
    figures, pairs = judgement.figures, judgement.pairs
    written: dict[str, JsonValue] = {
        "protocol": pairs.name,
        "num_genuine": figures.num_genuine,
        "num_impostor": figures.num_impostor,
        "num_skipped": pairs.num_skipped,
        "metric": judgement.metric,
        "flip": judgement.flip,
        "normalized": judgement.normalized,
        "subtract_mean": judgement.subtract_mean,
        **{name: _number(value) for name, value in figures.metrics.items()},
        "d_prime": _number(judgement.d_prime),
        "fold_accuracy": [_number(value) for value in figures.fold_accuracy],
        "fold_threshold": [_number(value) for value in figures.fold_threshold],
        "val_facenet": {
            far: {name: _number(value) for name, value in values.items()}
            for far, values in figures.val_facenet.items()
        },
        "val_exact": {
            far: {
                **{name: _number(value) for name, value in values.items()},
                "interval": _bounds(judgement.intervals[f"val_exact_at_far_{far}"]),
            }
            for far, values in figures.val_exact.items()
        },
        "intervals": {name: _interval(one) for name, one in judgement.intervals.items()},
        "reasons": dict(figures.reasons),
        "warnings": dict(figures.warnings),
    }
    if curves:
        far, val, threshold = roc(judgement.distances, pairs.same)
        _, frr, _ = det(judgement.distances, pairs.same)
        written["roc"] = {"far": _numbers(far), "val": _numbers(val), "threshold": _numbers(threshold)}
        written["det"] = {"far": _numbers(far), "frr": _numbers(frr), "threshold": _numbers(threshold)}
    return written


def protocol_record(judgement: Judgement) -> ProtocolRecord:
    """The judgement as a run record keeps it."""
    figures = judgement.figures
    return ProtocolRecord(
        metrics=dict(figures.metrics),
        reasons=dict(figures.reasons),
        warnings=dict(figures.warnings),
        intervals={name: (one.low, one.high) for name, one in judgement.intervals.items()},
        fold_accuracy=figures.fold_accuracy,
        fold_threshold=figures.fold_threshold,
        val_facenet={far: dict(values) for far, values in figures.val_facenet.items()},
        val_exact={far: dict(values) for far, values in figures.val_exact.items()},
        num_genuine=figures.num_genuine,
        num_impostor=figures.num_impostor,
        num_skipped=judgement.pairs.num_skipped,
        metric=judgement.metric or "given",
        flip=judgement.flip or "given",
        subtract_mean=judgement.subtract_mean,
    )


def _interval(one: Interval) -> dict[str, JsonValue]:
    return {
        "low": _number(one.low),
        "high": _number(one.high),
        "method": one.method,
        "reason": one.reason or None,
    }


def _bounds(one: Interval) -> list[JsonValue]:
    return [_number(one.low), _number(one.high)]


def _numbers(values: Floats) -> list[JsonValue]:
    return [_number(value) for value in values.tolist()]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
