"""Are these two photos of one person? Detect, crop, embed, and compare with a saved threshold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import JsonValue

from bench.data.align.photo import BOX_FACTOR, crop_face
from bench.data.align.picture import UnreadableError, read_picture
from bench.errors import UserError, did_you_mean
from bench.images import UnreadableImageError, decode_image
from bench.images.files import SUFFIXES, is_image
from bench.judge.models import Model
from bench.judge.pair_lists import FALSE, TRUE, read_csv
from bench.results import Alignment, Threshold, Thresholds
from bench.verification import far_key, normalize, pair_distances

_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True)
class PhotoPair:
    """Two photos, and whether they show one person where a list says so."""

    left: Path
    right: Path
    same: bool | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What came out for a pair.

    Args:
        pair: the photos.
        distance: between their embeddings.
        is_accepted: distance < threshold.
    """

    pair: PhotoPair
    distance: float
    is_accepted: bool


def photo_pairs(paths: Sequence[Path]) -> list[PhotoPair]:
    """Pairs that are meant by two photos or folders, one folder (every two in it), or one CSV file.

    Raises:
        UserError: neither; or fewer than two photos.
    """
    if len(paths) == 1 and paths[0].suffix.lower() == ".csv":
        return _from_csv(paths[0])
    if len(paths) == 1 and paths[0].is_dir():
        photos = _photos(paths[0])
        if len(photos) < 2:
            raise UserError(f"{paths[0]}: holds {len(photos)} image; a pair needs two")
        return [PhotoPair(left, right) for left, right in combinations(photos, 2)]
    if len(paths) == 2:
        return [PhotoPair(left, right) for left, right in product(*(_photos(path) for path in paths))]
    raise UserError(
        f"name two photos or folders, one folder, or one .csv with left,right; got {len(paths)} "
        f"{'path' if len(paths) == 1 else 'paths'}"
    )


def choose_threshold(document: Thresholds, path: Path, *, far: float, data: str | None) -> Threshold:
    """The threshold of a FAR.

    Args:
        document: thresholds.json.
        path: of the document, for messages.
        far: the rate wanted.
        data: the pairs that it comes from; None where there is one kind only.

    Raises:
        UserError: there is none, or no single one.
    """
    if not document.data:
        raise UserError(f"{path}: holds no threshold; 'bench eval' finds some on pairs of yours")
    if data is None and len(document.data) > 1:
        raise UserError(
            f"{path}: holds thresholds of several data; choose with --data: {', '.join(document.data)}"
        )
    source = next(iter(document.data)) if data is None else data
    if source not in document.data:
        raise UserError(
            f"{path}: has no thresholds of {source!r}; there are {', '.join(document.data)}"
            f"{did_you_mean(source, document.data)}"
        )
    found = document.data[source].get(far_key(far))
    if found is None:
        raise UserError(
            f"{path}: has no threshold for FAR {far_key(far)}; there are {', '.join(document.data[source])}; "
            "'bench eval --far' finds others"
        )
    if found.threshold is None:
        raise UserError(f"{path}: has no threshold for FAR {far_key(far)}: {found.warning}")
    return found


def check_same_preprocessing(model: Model, document: Thresholds, path: Path) -> None:
    """A threshold holds for the images that it was found on and for nothing else.

    Raises:
        UserError: they differ, or there were no images.
    """
    if document.metric is None or document.preprocessing.flip is None:
        raise UserError(f"{path}: comes from embeddings or distances, not from images that a model was fed")
    wanted = document.preprocessing
    for name, there, here in (
        ("size_px", wanted.size_px, model.size_px),
        ("crop_px", wanted.crop_px, model.preprocess.crop_px),
        ("standardization", wanted.standardization, model.preprocess.standardization),
    ):
        if there != here:
            raise UserError(
                f"{path}: holds for {name} {there}, but {model.name} has {here}; give its own file"
            )


def decide(
    model: Model, document: Thresholds, threshold: Threshold, pairs: Sequence[PhotoPair], *, align: bool
) -> list[Decision]:
    """Embed every photo once and compare.

    Args:
        model: the network.
        document: says metric, flip and normalisation.
        threshold: to compare with.
        pairs: of photos.
        align: find the face first and cut it out as the document says; False takes the middle square as it
            is.

    Raises:
        UserError: a photo is missing, unreadable, or shows no face.
    """
    photos = list(dict.fromkeys(photo for pair in pairs for photo in (pair.left, pair.right)))
    assert model.size_px is not None, "runs say their size"
    alignment = document.preprocessing.alignment
    pixels = np.stack([face_pixels(photo, model.size_px, alignment, align=align) for photo in photos])
    flip, metric, accepted_below = document.preprocessing.flip, document.metric, threshold.threshold
    assert metric is not None and flip is not None and accepted_below is not None, "checked"
    rows = model.embed(pixels, flip=flip, batch_size=_BATCH_SIZE)
    if document.normalized and flip != "concat":
        rows = normalize(rows)
    index = {photo: row for row, photo in enumerate(photos)}
    left, right = ([index[getattr(pair, side)] for pair in pairs] for side in ("left", "right"))
    distances = pair_distances(rows[left], rows[right], metric=metric).tolist()
    return [
        Decision(pair, distance, distance < accepted_below)
        for pair, distance in zip(pairs, distances, strict=True)
    ]


def how_cut_out(document: Thresholds) -> str:
    """How faces are cut out of photos for these thresholds, in words."""
    alignment = document.preprocessing.alignment
    if alignment is not None:
        return f"faces cut out as those of the thresholds were: {alignment}"
    return (
        "nothing tells how the faces of the thresholds were cut out of their pictures: "
        f"taken is a square of {BOX_FACTOR:g} x the detector's box"
    )


def face_pixels(photo: Path, size_px: int, alignment: Alignment | None, *, align: bool) -> NDArray[np.uint8]:
    """(3, size, size) uint8 of the face in a photo, cut out as `crop_face` does, or of its middle square.

    Raises:
        UserError: the photo is missing, unreadable, or shows no face.
    """
    try:
        content = photo.read_bytes()
        if not align:
            return decode_image(content, size_px)
        decode_image(content, size_px)  # refuses what is no photo, in the data sets' words
        face = crop_face(read_picture(content), alignment, name=str(photo))
    except FileNotFoundError:
        raise UserError(f"{photo}: does not exist; it should be an image") from None
    except IsADirectoryError:
        raise UserError(f"{photo}: is a folder; it should be an image") from None
    except (UnreadableImageError, UnreadableError) as error:
        raise UserError(f"{photo}: {error}") from None
    kernel = Image.Resampling.LANCZOS if size_px < face.width else Image.Resampling.BICUBIC
    resized = face.resize((size_px, size_px), kernel)
    return np.ascontiguousarray(np.asarray(resized, np.uint8).transpose(2, 0, 1))


def as_json(
    model: Model,
    document: Thresholds,
    threshold: Threshold,
    far: float,
    decisions: Sequence[Decision],
    *,
    align: bool,
) -> dict[str, JsonValue]:
    """The decisions and what they rest on."""
    return {
        "model": model.name,
        "metric": document.metric,
        "faces": how_cut_out(document) if align else "taken as they are",
        "far": far_key(far),
        "threshold": threshold.threshold,
        "threshold_interval": list(threshold.interval),
        "false_accept": threshold.far,
        "false_accept_interval": list(threshold.far_interval),
        "val": threshold.val,
        "source": threshold.source,
        "num_impostor": threshold.num_impostor,
        "warning": threshold.warning,
        "pairs": [
            {
                "left": str(one.pair.left),
                "right": str(one.pair.right),
                "distance": one.distance,
                "same": one.is_accepted,
            }
            for one in decisions
        ],
    }


def _photos(path: Path) -> list[Path]:
    if not path.exists():
        raise UserError(f"{path}: does not exist; it should be an image or a folder of images")
    if path.is_file():
        return [path]
    photos = sorted(file for file in path.rglob("*") if is_image(file.name))
    if not photos:
        raise UserError(f"{path}: holds no image ({', '.join(sorted(SUFFIXES))})")
    return photos


def _from_csv(path: Path) -> list[PhotoPair]:
    """Paths are relative to the list's own folder."""
    pairs = []
    for line, row in enumerate(read_csv(path, required=("left", "right"), optional=("same",)), start=2):
        same = row.get("same", "").lower()
        if same not in (*TRUE, *FALSE, ""):
            raise UserError(f"{path}:{line}: same must be 1 or 0 (or true or false), but got {row['same']!r}")
        for side in ("left", "right"):
            if not os.path.isfile(path.parent / row[side]):  # noqa: PTH113 - pathlib raises where names are too long
                raise UserError(f"{path}:{line}: there is no image {path.parent / row[side]}")
        left, right = path.parent / row["left"], path.parent / row["right"]
        pairs.append(PhotoPair(left, right, None if not same else same in TRUE))
    return pairs
