"""What was done to every picture: an SQLite file that survives kills and does not grow in memory."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.data.align.image import Outcome
from bench.errors import UserError

_COMMIT_EVERY_S = 1.0
# Pictures of this many reported files of each status are kept for the contact sheet.
THUMBS_KEPT = 120

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pictures (
    name TEXT PRIMARY KEY, status TEXT NOT NULL, reason TEXT NOT NULL, output TEXT NOT NULL,
    num_bytes INTEGER NOT NULL, num_faces INTEGER NOT NULL, confidence REAL,
    box TEXT NOT NULL, landmarks TEXT NOT NULL, thumb BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_output ON pictures (output);
CREATE INDEX IF NOT EXISTS by_status ON pictures (status, name);
"""


class Journal:
    """Rows by name; the last word on a picture counts. A kill loses at most the last second's rows.

    Args:
        path: of the file; made when it is not there.

    Raises:
        UserError: it is there, but no journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path)
        try:
            self._connection.executescript(_SCHEMA)
            kept = self._connection.execute(
                "SELECT status, count(*) FROM pictures WHERE length(thumb) GROUP BY status"
            )
            self._thumbs: dict[str, int] = dict(kept.fetchall())
        except sqlite3.DatabaseError as error:
            self._connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise UserError(
                f"{path}: is damaged ({error}); remove it: every picture is then aligned again"
            ) from error
        self._committed_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with closing(self._connection):
            self._connection.commit()

    def add(self, outcome: Outcome) -> None:
        """Remember; what was known of that picture before is forgotten."""
        thumb = outcome.thumb
        if thumb:
            known = self._thumbs.get(outcome.status, 0)
            thumb = thumb if known < THUMBS_KEPT else b""
            self._thumbs[outcome.status] = known + 1
        self._connection.execute(
            "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                outcome.name,
                outcome.status,
                outcome.reason,
                outcome.output,
                outcome.num_bytes,
                outcome.num_faces,
                None if math.isnan(outcome.confidence) else outcome.confidence,
                json.dumps(outcome.box),
                json.dumps(outcome.landmarks),
                thumb,
            ),
        )
        if time.monotonic() - self._committed_at > _COMMIT_EVERY_S:
            self._connection.commit()
            self._committed_at = time.monotonic()

    def find(self, name: str) -> Outcome | None:
        """What is known of a picture."""
        row = self._connection.execute("SELECT * FROM pictures WHERE name = ?", (name,)).fetchone()
        return None if row is None else _outcome(row)

    def owner(self, output: str) -> str | None:
        """The picture whose face has that name already."""
        row = self._connection.execute("SELECT name FROM pictures WHERE output = ?", (output,)).fetchone()
        return None if row is None else str(row[0])

    def counts(self) -> dict[str, int]:
        """Pictures by status."""
        return dict(
            self._connection.execute("SELECT status, count(*) FROM pictures GROUP BY status").fetchall()
        )

    def reported(self) -> Iterator[Outcome]:
        """Everything that a person should know of, worst first, by name; one at a time."""
        for status in ("unreadable", "no_face", "doubtful"):
            cursor = self._connection.execute(
                "SELECT * FROM pictures WHERE status = ? ORDER BY name", (status,)
            )
            for row in cursor:
                yield _outcome(row)


def _outcome(row: tuple[object, ...]) -> Outcome:
    name, status, reason, output, num_bytes, num_faces, confidence, box, landmarks, thumb = row
    return Outcome(
        str(name),
        str(status),  # type: ignore[arg-type]  # what was written is read
        str(reason),
        str(output),
        int(num_bytes),  # type: ignore[call-overload]
        int(num_faces),  # type: ignore[call-overload]
        math.nan if confidence is None else float(confidence),  # type: ignore[arg-type]
        tuple(json.loads(str(box))),
        tuple(json.loads(str(landmarks))),
        bytes(thumb),  # type: ignore[call-overload]
    )
