"""From what was asked to figures: open the model, find the pairs, embed, judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.config import RunConfig, load_config
from bench.data import DATASETS, PairProtocol, Preprocess, cache_folder
from bench.data import Images as FaceImages
from bench.data.align import read_alignment
from bench.data.protocols import ProtocolOptions, open_protocol
from bench.device import usable_cpus
from bench.embed import Flip
from bench.errors import UserError
from bench.judge.arrays import read_distances, read_embeddings
from bench.judge.asked import Asked, file_name
from bench.judge.folder import NO_IMAGES, Judged
from bench.judge.images import Images
from bench.judge.judgement import Settings, judge_distances, judge_embeddings
from bench.judge.models import Model, known_size, model_of_onnx, model_of_run, model_of_weights
from bench.judge.pair_lists import PairList, from_protocol, read_pair_list
from bench.results import Alignment, Preprocessing

_BATCH_SIZE = 128

Stage = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What came out, for all protocols.

    Args:
        name: of what was judged.
        judged: one a protocol.
        settings: how embeddings were compared.
        flip: how images were embedded; None without images.
        preprocessing: of the images.
        num_parameters: of the network; 0: unknown.
    """

    name: str
    judged: tuple[Judged, ...]
    settings: Settings
    flip: Flip | None
    preprocessing: Preprocessing
    num_parameters: int

    @property
    def folder_name(self) -> str:
        """For the default folder: what was judged, and on what."""
        return "-".join(dict.fromkeys((self.name, *(one.judgement.pairs.name for one in self.judged))))


def evaluate(asked: Asked, device: torch.device, stage: Stage) -> Evaluated:
    """Judge a model, embeddings or distances.

    Args:
        asked: checked.
        device: to compute on.
        stage: hears how it goes.

    Raises:
        UserError: something that was named is missing, damaged, or does not fit.
    """
    if asked.has_images:
        return _of_model(asked, _open_model(asked, device), stage)
    name, settings = file_name(asked.path.stem), asked.settings(None)
    if asked.source == "distances":
        file = read_distances(asked.path, name=name, num_folds=asked.folds)
        judged = [judge_distances(file.pairs, file.distances, settings, source=str(asked.path))]
    else:
        embeddings = read_embeddings(asked.path, normalized=settings.normalize)
        judged = [
            judge_embeddings(pairs, embeddings.of(pairs), settings, flip=None, source=str(asked.path))
            for pairs in _pair_lists(asked).values()
        ]
    return Evaluated(name, tuple(Judged(one, None) for one in judged), settings, None, NO_IMAGES, 0)


def _open_model(asked: Asked, device: torch.device) -> Model:
    preprocess = Preprocess(asked.standardize or "fixed", asked.crop)
    if asked.weights is not None:
        assert asked.backbone is not None, "checked"
        return model_of_weights(
            asked.weights,
            asked.backbone,
            asked.backbone_option,
            preprocess=preprocess,
            size_px=asked.size,
            device=device,
        )
    if asked.onnx is not None:
        return model_of_onnx(asked.onnx, preprocess=preprocess, size_px=asked.size, device=device)
    if asked.run is not None and asked.run.is_file():
        raise UserError(f"{asked.run}: is a file; --run wants the folder of a run, --checkpoint a file")
    return model_of_run(asked.path, device)


def _of_model(asked: Asked, model: Model, stage: Stage) -> Evaluated:
    of_run = model.config.evaluate if model.config is not None else None
    settings = asked.settings(of_run)
    flip: Flip = asked.flip or (of_run.flip if of_run is not None else "none")
    batch_size = asked.batch_size or (of_run.batch_size if of_run is not None else _BATCH_SIZE)
    # the lists first: a mistake in one should not cost the time of a data set
    lists = _pair_lists(asked)
    images = {
        name: Images(asked.images, pairs.images) for name, pairs in lists.items() if asked.images is not None
    }
    config = load_config(asked.data) if asked.data is not None else None
    if config is None and not asked.pairs:
        config = model.config
    judged = []
    for protocol in (*_bins(asked, model), *_tests(config)):
        if protocol.name in lists:
            raise UserError(f"--pairs: the data set has a protocol {protocol.name!r}, too; use NAME=FILE")
        pairs, faces = from_protocol(protocol), protocol.faces.images
        stage(f"{pairs.name}: {len(pairs.images):,} images, {len(pairs):,} pairs")
        rows = model.embed(faces, flip=flip, batch_size=batch_size)
        one = judge_embeddings(pairs, rows, settings, flip=flip, source=model.name)
        judged.append(Judged(one, partial(_row_of, faces), protocol.alignment))
    for name, pairs in lists.items():
        stage(f"{name}: {len(pairs.images):,} images, {len(pairs):,} pairs")
        rows = model.embed_images(
            images[name], pairs.images, flip=flip, batch_size=batch_size, threads=usable_cpus()
        )
        one = judge_embeddings(pairs, rows, settings, flip=flip, source=model.name)
        image_of = partial(_named, images[name], pairs, model.size_px or 0)
        judged.append(Judged(one, image_of, _alignment_of(asked.images)))
    if not judged:
        raise UserError(f"{model.name}: its data set has no test pairs; give --pairs and --images")
    alignments = {one.alignment for one in judged}
    return Evaluated(
        file_name(model.name),
        tuple(judged),
        settings,
        flip,
        # thresholds of several kinds of crops hold for no one kind
        model.preprocessing(flip, alignments.pop() if len(alignments) == 1 else None),
        model.num_parameters,
    )


def _pair_lists(asked: Asked) -> Mapping[str, PairList]:
    return {
        name: read_pair_list(path, name=name, num_folds=asked.folds)
        for name, path in asked.pair_files().items()
        if path.suffix != ".bin" or not asked.has_images
    }


def _bins(asked: Asked, model: Model) -> Iterator[PairProtocol]:
    """Insightface's .bin files, which hold images and pairs; read without executing what they pickle."""
    for name, path in asked.pair_files().items():
        if path.suffix == ".bin":
            size_px = known_size(model)
            yield open_protocol(cache_folder(), ProtocolOptions(str(path), name), size_px, "--pairs")


def _tests(config: RunConfig | None) -> tuple[PairProtocol, ...]:
    if config is None:
        return ()
    return DATASETS.build(config.data.name, {"cache": cache_folder()}, config.data.options).tests


def _alignment_of(images: Path | None) -> Alignment | None:
    aligned = read_alignment(images) if images is not None else None
    return aligned.alignment if aligned is not None else None


def _row_of(faces: FaceImages, index: int) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = faces[index : index + 1][0]
    return pixels


def _named(images: Images, pairs: PairList, size_px: int, index: int) -> NDArray[np.uint8]:
    return images.pixels(pairs.images[index], size_px)
