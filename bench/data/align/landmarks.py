"""Landmarks that somebody has found before: a CSV with a row a picture."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import numpy as np

from bench.data.align.geometry import Points
from bench.errors import UserError, did_you_mean

POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
COLUMNS = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")


class Landmarks:
    """Five points by picture.

    Args:
        path: CSV with the columns `file` (the picture's name in its source), `left_eye_x`, `left_eye_y`, ...
            as in COLUMNS, in pixels of the picture, and perhaps `confidence`. Empty points: no face found.

    Raises:
        UserError: `file:line: problem`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_bytes()
            rows = csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline=""))
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error
        except UnicodeDecodeError:
            raise UserError(f"{path}: is not UTF-8 text; it should be a CSV of landmarks") from None
        self.checksum = hashlib.sha256(text).hexdigest()
        columns = rows.fieldnames or ()
        for wanted in ("file", *COLUMNS):
            if wanted not in columns:
                raise UserError(f"{path}:1: column {wanted!r} is missing{did_you_mean(wanted, columns)}")
        self._rows: dict[str, tuple[Points | None, float]] = {}
        for row in rows:
            try:
                self._rows[row["file"]] = _points(row), float(row.get("confidence") or "nan")
            except (TypeError, ValueError):
                raise UserError(f"{path}:{rows.line_num}: landmarks must be numbers, got {row}") from None

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def first(self) -> str:
        """Name of the first picture, for messages."""
        return next(iter(self._rows), "")

    def find(self, name: str) -> tuple[Points | None, float]:
        """Points (5, 2) and confidence of a picture; None where there are none.

        Raises:
            KeyError: the file has no row for it.
        """
        return self._rows[name]


def _points(row: dict[str, str]) -> Points | None:
    values = [row[column] for column in COLUMNS]
    if not any(values):
        return None
    points = np.array([float(value) for value in values]).reshape(5, 2)
    if not np.isfinite(points).all():
        raise ValueError("not finite")
    return points
