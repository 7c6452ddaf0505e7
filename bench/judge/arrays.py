"""Embeddings and distances that were made elsewhere, from .npz files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.asked import without_suffix
from bench.errors import UserError, did_you_mean
from bench.judge.pair_lists import DEFAULT_FOLDS, PairList, cut_folds, from_zero
from bench.results.arrays import PickledArrayError, UnreadableArrayError, opened_arrays
from bench.verification import normalize


@dataclass(frozen=True, eq=False)
class EmbeddingFile:
    """Embeddings by name.

    Args:
        path: the file.
        rows: name without suffix -> row.
        embeddings: (N, D) finite.
    """

    path: Path
    rows: Mapping[str, int]
    embeddings: NDArray[np.floating]

    def of(self, pairs: PairList) -> NDArray[np.floating]:
        """The embeddings of the images that the pairs name, in their order.

        Raises:
            UserError: some have none.
        """
        missing = [name for name in pairs.images if name not in self.rows]
        if missing:
            more = f", and of {len(missing) - 1:,} more" if len(missing) > 1 else ""
            raise UserError(
                f"{self.path}: has no embedding of {missing[0]!r}, which {pairs.name} names{more}"
                f"{did_you_mean(missing[0], self.rows)}"
            )
        return self.embeddings[[self.rows[name] for name in pairs.images]]


def read_embeddings(path: Path, *, normalized: bool) -> EmbeddingFile:
    """Read `names` (N,) and `embeddings` (N, D).

    Args:
        path: an .npz file; the suffix of an image in its names is optional.
        normalized: they will be divided by their norm, so that none may be 0.

    Raises:
        UserError: not such a file; a name twice; numbers that are not finite, or without direction.
    """
    arrays = _load(path, ("names", "embeddings"))
    names, embeddings = arrays["names"], arrays["embeddings"]
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise UserError(f"{path}: names must be strings of shape (N,), but got {names.dtype} {names.shape}")
    if names.dtype.kind == "S":
        try:
            names = np.char.decode(names, "utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{path}: names must be UTF-8") from None
    if embeddings.ndim != 2 or len(embeddings) != len(names):
        raise UserError(
            f"{path}: embeddings must have shape ({len(names)}, D) like the names, but got {embeddings.shape}"
        )
    rows: dict[str, int] = {}
    for row, name in enumerate(names.tolist()):
        if rows.setdefault(without_suffix(name), row) != row:
            raise UserError(
                f"{path}: the name {without_suffix(name)!r} stands twice, in rows "
                f"{rows[without_suffix(name)]} and {row}"
            )
    if embeddings.dtype == np.float16:
        embeddings = embeddings.astype(np.float32)
    try:
        if normalized:
            normalize(embeddings)
        elif not np.isfinite(embeddings).all():
            row = int(np.argmin(np.isfinite(embeddings).all(axis=1)))
            raise ValueError(f"embeddings must be finite, but row {row} is not")
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {error}") from None
    return EmbeddingFile(path, rows, embeddings)


@dataclass(frozen=True, eq=False)
class DistanceFile:
    """Pairs of which only the distances are known."""

    pairs: PairList
    distances: NDArray[np.floating]


def read_distances(path: Path, *, name: str, num_folds: int | None = None) -> DistanceFile:
    """Read `distances` (P,), `same` (P,) and perhaps `fold` (P,).

    Args:
        path: an .npz file.
        name: of the protocol.
        num_folds: cut the pairs into so many folds anew; None keeps the file's own, and cuts ten where it
            has none.

    Raises:
        UserError: not such a file, or fewer pairs than folds. What the arrays hold is checked by `verify`.
    """
    arrays = _load(path, ("distances", "same"), optional=("fold",))
    distances, same = arrays["distances"], arrays["same"]
    if same.shape != distances.shape or same.ndim != 1 or same.dtype.kind not in "biu":
        raise UserError(
            f"{path}: distances and same must both be (P,), same True or False, but got "
            f"{distances.dtype} {distances.shape} and {same.dtype} {same.shape}"
        )
    if not np.isin(same, (0, 1)).all():
        raise UserError(f"{path}: same must be True or False (or 1 and 0)")
    kinds = same.astype(np.bool_)
    fold = arrays.get("fold")
    if fold is None or num_folds is not None:
        fold = cut_folds(kinds, num_folds or DEFAULT_FOLDS, str(path))
    if fold.shape != same.shape or fold.dtype.kind not in "iu":
        raise UserError(
            f"{path}: fold must be integers of shape {same.shape} like the distances, "
            f"but got {fold.dtype} {fold.shape}"
        )
    none = np.zeros(0, np.int64)
    return DistanceFile(PairList(name, (), none, none, kinds, from_zero(fold), None), distances)


def _load(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, NDArray[Any]]:
    wanted = " and ".join(required)
    try:
        with opened_arrays(path) as archive:
            if not set(required) <= set(archive.names):
                raise UserError(
                    f"{path}: must hold the arrays {wanted}, but holds {', '.join(archive.names) or 'none'}"
                )
            return {name: archive[name] for name in (*required, *optional) if name in archive.names}
    except FileNotFoundError:
        raise UserError(f"{path}: does not exist; it should be an .npz file with {wanted}") from None
    except PickledArrayError:
        raise UserError(
            f"{path}: holds Python objects, which are not read (they could run code); "
            "save plain arrays, names as dtype str"
        ) from None
    except UnreadableArrayError:
        raise UserError(f"{path}: is not a readable .npz file; it should hold {wanted}") from None
