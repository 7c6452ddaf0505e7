"""Lists of pairs by the names of their images: LFW's pairs.txt, or a CSV that any tool writes.

    left,right,same,fold
    Abel_Pacheco/Abel_Pacheco_0001,Abel_Pacheco/Abel_Pacheco_0004,1,0

In a CSV the columns may come in any order and among others, images may have their suffix, `same` is 1 or 0
(or true, false), and folds count from 0.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.data.pairs import image_name, read_pairs
from bench.errors import UserError
from bench.images.files import SUFFIXES

COLUMNS = ("left", "right", "same", "fold")
_TRUTH = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, slots=True)
class AskedPair:
    """Two images by name, `Abel_Pacheco/Abel_Pacheco_0001` without a suffix.

    Args:
        left: one image.
        right: the other.
        same: both show one person.
        fold: from 0.
        line: in its file, from 1.
    """

    left: str
    right: str
    same: bool
    fold: int
    line: int


def read_asked_pairs(path: Path) -> list[AskedPair]:
    """Read a list; the suffix .csv says that it is one.

    Raises:
        UserError: `file:line: problem`.
    """
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    return [
        AskedPair(image_name(*pair.left), image_name(*pair.right), pair.same, pair.fold, pair.line)
        for pair in read_pairs(path)
    ]


def without_suffix(name: str) -> str:
    """`A/A_0001.jpg` -> `A/A_0001`; what is no image's suffix stays."""
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in SUFFIXES else name


def _read_csv(path: Path) -> list[AskedPair]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            lacking = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if lacking:
                raise UserError(
                    f"{path}:1: the columns must be {','.join(COLUMNS)}; {lacking[0]!r} is missing"
                )
            pairs = [_csv_pair(path, reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is no CSV in UTF-8 ({error})") from None
    if not pairs:
        raise UserError(f"{path}: holds no pairs")
    lacking_fold = next(
        iter(set(range(max(pair.fold for pair in pairs))) - {pair.fold for pair in pairs}), None
    )
    if lacking_fold is not None:
        raise UserError(f"{path}: folds count from 0 without a gap, but fold {lacking_fold} has no pair")
    return pairs


def _csv_pair(path: Path, line: int, row: Mapping[str, str | None]) -> AskedPair:
    left, right, same, fold = ((row[column] or "").strip() for column in COLUMNS)
    for column, name in (("left", left), ("right", right)):
        if name.count("/") != 1 or not all(name.split("/")):
            raise UserError(f"{path}:{line}: {column}: must be IDENTITY/IMAGE, got {name!r}")
    if same.lower() not in _TRUTH:
        raise UserError(f"{path}:{line}: same: must be 1 or 0, got {same!r}")
    if not fold.isdecimal():
        raise UserError(f"{path}:{line}: fold: must count from 0, got {fold!r}")
    pair = AskedPair(without_suffix(left), without_suffix(right), _TRUTH[same.lower()], int(fold), line)
    if pair.left == pair.right:
        raise UserError(f"{path}:{line}: a pair needs two images, but both are {left}")
    people = left.partition("/")[0], right.partition("/")[0]
    if pair.same != (people[0] == people[1]):
        kind = "a genuine" if pair.same else "an impostor"
        raise UserError(f"{path}:{line}: {kind} pair cannot be of {people[0]} and {people[1]}")
    return pair
