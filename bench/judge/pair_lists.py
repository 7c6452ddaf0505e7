"""Pairs of named images in folds: LFW's pairs.txt, a CSV file, or a protocol of a data set."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data import PairProtocol
from bench.data.asked import without_suffix
from bench.data.pairs import image_name, read_pairs
from bench.errors import UserError, did_you_mean

DEFAULT_FOLDS = 10

TRUE, FALSE = ("1", "true"), ("0", "false")


@dataclass(frozen=True, eq=False)
class PairList:
    """A protocol without its images.

    Args:
        name: prefix of the figures ("lfw").
        images: name of each image, without a file's suffix.
        left: (P,) int64 index into images.
        right: (P,) int64 index into images.
        same: (P,) bool, True for genuine pairs.
        fold: (P,) int64.
        identities: (P, 2) the person of either side; None where nothing tells.
        num_skipped: pairs of the official list that are not here because an image is missing.
    """

    name: str
    images: tuple[str, ...]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]
    identities: NDArray[Any] | None
    num_skipped: int = 0

    def __len__(self) -> int:
        return len(self.same)


def from_protocol(protocol: PairProtocol) -> PairList:
    """The pairs of a data set's protocol, images in the order of its faces."""
    faces = protocol.faces
    names = faces.names or tuple(str(index) for index in range(len(faces)))
    identities = np.stack([faces.labels[protocol.left], faces.labels[protocol.right]], axis=1)
    return PairList(
        protocol.name,
        names,
        protocol.left,
        protocol.right,
        protocol.same,
        protocol.fold,
        identities,
        protocol.num_skipped,
    )


def read_pair_list(path: Path, *, name: str, num_folds: int | None = None) -> PairList:
    """Read pairs.txt, or a CSV file with the columns left, right, same and perhaps fold.

    Args:
        path: the file; `.csv` says which of the two it is.
        name: of the protocol.
        num_folds: cut the pairs into so many folds anew; None keeps the file's own, and cuts ten where it
            has none.

    Raises:
        UserError: `file:line: problem`; fewer pairs than folds.
    """
    if path.suffix.lower() == ".csv":
        return _from_csv(path, name, num_folds)
    pairs = read_pairs(path)
    index: dict[str, int] = {}
    sides = np.array(
        [[_index(index, image_name(*side)) for side in (pair.left, pair.right)] for pair in pairs], np.int64
    )
    same = np.array([pair.same for pair in pairs], np.bool_)
    fold = np.array([pair.fold for pair in pairs], np.int64)
    if num_folds is not None or fold.max() == 0:
        fold = cut_folds(same, num_folds or DEFAULT_FOLDS, str(path))
    identities = np.array([[pair.left[0], pair.right[0]] for pair in pairs])
    return PairList(name, tuple(index), sides[:, 0], sides[:, 1], same, fold, identities)


def cut_folds(same: NDArray[np.bool_], num_folds: int, source: str) -> NDArray[np.int64]:
    """Folds of equal size in the order of the pairs, genuine and impostor pairs each on their own.

    On LFW's pairs.txt with ten folds this gives the file's own.

    Raises:
        UserError: fewer pairs than folds.
    """
    fold = np.empty(len(same), np.int64)
    for kind in (True, False):
        members = np.flatnonzero(same == kind)
        fold[members] = np.arange(len(members)) * num_folds // max(len(members), 1)
    if len(np.unique(fold)) < num_folds:
        raise UserError(
            f"{source}: {len(same)} pairs cannot fill {num_folds} folds; give --folds a smaller number"
        )
    return fold


def from_zero(fold: NDArray[np.integer]) -> NDArray[np.int64]:
    """Fold numbers from 0, which may be written from 1; what else is wrong with them `verify` says."""
    numbers: NDArray[np.int64] = fold.astype(np.int64)
    return numbers - 1 if numbers.min() == 1 else numbers


def read_csv(path: Path, *, required: tuple[str, ...], optional: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file by column; the line of row i is i + 2 where no cell spans lines.

    Raises:
        UserError: missing, not UTF-8, without the required columns, or a row that lacks a cell.
    """
    columns = f"{','.join(required)}[,{','.join(optional)}]"
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            header = tuple(reader.fieldnames or ())
            missing = [column for column in required if column not in header]
            unknown = [column for column in header if column not in (*required, *optional)]
            if missing or unknown:
                hint = did_you_mean(unknown[0], (*required, *optional)) if unknown else ""
                raise UserError(
                    f"{path}:1: the header must be {columns}, but is {','.join(header) or 'empty'}{hint}"
                )
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise UserError(f"{path}:{reader.line_num}: must have {len(header)} cells: {columns}")
                rows.append({column: cell.strip() for column, cell in row.items()})
    except FileNotFoundError:
        raise UserError(f"{path}: does not exist; it should hold the columns {columns}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}:1: is not UTF-8 text; it should hold the columns {columns}") from None
    if not rows:
        raise UserError(f"{path}: holds no pair")
    return rows


def _from_csv(path: Path, name: str, num_folds: int | None) -> PairList:
    rows = read_csv(path, required=("left", "right", "same"), optional=("fold",))
    index: dict[str, int] = {}
    sides, same, folds, people = [], [], [], []
    for line, row in enumerate(rows, start=2):
        left, right = (without_suffix(row[side]) for side in ("left", "right"))
        if left == right:
            raise UserError(f"{path}:{line}: a pair needs two images, but both are {left}")
        answer = row["same"].lower()
        if answer not in TRUE + FALSE:
            raise UserError(f"{path}:{line}: same must be 1 or 0 (or true or false), but got {row['same']!r}")
        sides.append((_index(index, left), _index(index, right)))
        same.append(answer in TRUE)
        folds.append(_fold(path, line, row["fold"]) if "fold" in row else 0)
        people.append((_person(left), _person(right)))
    kinds = np.array(same, np.bool_)
    # only when folders tell people apart exactly as `same` does are they people
    are_people = all((one == other) == kind for (one, other), kind in zip(people, same, strict=True))
    indices = np.array(sides, np.int64)
    has_folds = "fold" in rows[0] and num_folds is None
    return PairList(
        name,
        tuple(index),
        indices[:, 0],
        indices[:, 1],
        kinds,
        from_zero(np.array(folds)) if has_folds else cut_folds(kinds, num_folds or DEFAULT_FOLDS, str(path)),
        np.array(people) if are_people else None,
    )


def _fold(path: Path, line: int, cell: str) -> int:
    if not cell.isdecimal():
        raise UserError(f"{path}:{line}: fold must be a number from 0, but got {cell!r}")
    return int(cell)


def _person(image: str) -> str:
    return image.rpartition("/")[0] or image


def _index(index: dict[str, int], name: str) -> int:
    return index.setdefault(name, len(index))
