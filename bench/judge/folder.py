"""What an evaluation leaves in its folder: figures as JSON, thresholds, pairs, pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from bench.data.pair_sheet import hardest_pairs_sheet
from bench.errors import UserError
from bench.judge.judgement import Judgement, document
from bench.results import Alignment, Preprocessing, RunFolder, Thresholds, atomic_file, write_json
from reports.figures import save_distance_histogram, save_roc

NO_IMAGES = Preprocessing(size_px=None, crop_px=None, standardization=None, flip=None)


@dataclass(frozen=True, eq=False)
class Judged:
    """A judgement and, where there are images, the way to look one up.

    Args:
        judgement: of one protocol.
        image_of: index among the protocol's images -> (3, H, W) uint8.
        alignment: how the faces were cut out of their pictures; None: nothing tells.
    """

    judgement: Judgement
    image_of: Callable[[int], NDArray[np.uint8]] | None
    alignment: Alignment | None = None


def as_json(name: str, judged: Sequence[Judged], *, curves: bool) -> dict[str, JsonValue]:
    """One protocol: its figures at the top. Several: each below `protocols` by its name."""
    documents = [document(one.judgement, curves=curves) for one in judged]
    if len(documents) == 1:
        return {"model": name, **documents[0]}
    return {"model": name, "protocols": {str(one["protocol"]): one for one in documents}}


def thresholds_of(judged: Sequence[Judged], preprocessing: Preprocessing) -> Thresholds:
    """The thresholds of every protocol."""
    first = judged[0].judgement
    return Thresholds(
        metric=first.metric,
        normalized=first.normalized,
        preprocessing=preprocessing,
        data={one.judgement.pairs.name: dict(one.judgement.thresholds) for one in judged},
    )


def write_evaluation(
    path: Path, name: str, judged: Sequence[Judged], preprocessing: Preprocessing, *, curves: bool
) -> RunFolder:
    """Write evaluation.json, thresholds.json, pairs.npz and figures/; an earlier evaluation is replaced.

    Raises:
        UserError: the folder holds a run, or cannot be written.
    """
    folder = RunFolder(path)
    refuse_run(path)
    try:
        folder.figures.mkdir(parents=True, exist_ok=True)
        folder.clear(checkpoint=True, identity=True)
        folder.config.unlink(missing_ok=True)
        _write(folder, name, judged, preprocessing, curves=curves)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); give --out") from None
    return folder


def refuse_run(path: Path) -> None:
    """See that an evaluation may be written there.

    Raises:
        UserError: the folder holds a run, which an evaluation would overwrite.
    """
    if (path / "checkpoints").exists() or (path / "metrics.jsonl").exists():
        raise UserError(f"{path}: holds a run, which an evaluation would overwrite; give another --out")


def _write(
    folder: RunFolder,
    name: str,
    judged: Sequence[Judged],
    preprocessing: Preprocessing,
    *,
    curves: bool,
) -> None:
    arrays: dict[str, Any] = {}
    for one in judged:
        _draw(folder, name, one)
        pairs = one.judgement.pairs
        arrays[f"{pairs.name}/distances"] = one.judgement.distances
        arrays[f"{pairs.name}/same"] = pairs.same
        arrays[f"{pairs.name}/fold"] = pairs.fold
        if pairs.images:
            arrays[f"{pairs.name}/left"], arrays[f"{pairs.name}/right"] = pairs.left, pairs.right
            arrays[f"{pairs.name}/images"] = np.array(pairs.images)
    with atomic_file(folder.pairs) as stream:
        np.savez_compressed(stream, **arrays)
    thresholds_of(judged, preprocessing).write(folder.thresholds)
    write_json(folder.path / "evaluation.json", as_json(name, judged, curves=curves))


def _draw(folder: RunFolder, name: str, judged: Judged) -> None:
    judgement = judged.judgement
    pairs, distances = judgement.pairs, judgement.distances
    threshold = judgement.figures.metrics["best_threshold"]
    title = f"{name}: {pairs.name}"
    save_roc(folder.figures / f"{pairs.name}_roc.png", distances, pairs.same, title=title)
    save_distance_histogram(
        folder.figures / f"{pairs.name}_distances.png",
        distances,
        pairs.same,
        threshold=threshold,
        title=title,
    )
    if judged.image_of is not None:
        sheet = hardest_pairs_sheet(
            judged.image_of, pairs.left, pairs.right, distances, pairs.same, threshold=threshold
        )
        sheet.save(folder.figures / f"{pairs.name}_hardest.png")
