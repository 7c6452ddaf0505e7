"""What an alignment was asked to do; stored beside the faces, because figures depend on it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import UserError
from bench.results import Alignment, write_json
from bench.results.alignment import Method

ALIGNMENT = "alignment.json"

Misses = Literal["center", "skip"]
Format = Literal["jpg", "png"]


class AlignSettings(BaseModel):
    """The content of alignment.json.

    Args:
        method: box, facenet's crop; five_point, a similarity to ArcFace's template.
        size_px: height and width of the faces.
        margin_px: of box, in pixels of the source, half of it on each side; 0 for five_point.
        min_face_px: smallest face that was looked for.
        misses: what becomes of a picture without a face: its centre, or nothing.
        format: of the written files; jpg has quality 95.
        detector: name and version, or "landmarks".
        landmarks_sha256: of the CSV that the points came from; empty when they were detected.
        source: last name of the folder or archive that the pictures are in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "box"
    size_px: int = 160
    margin_px: int = 32
    min_face_px: int = 20
    misses: Misses = "center"
    format: Format = "jpg"
    detector: str = ""
    landmarks_sha256: str = ""
    source: str = ""

    @property
    def alignment(self) -> Alignment:
        """The geometry alone."""
        return Alignment(method=self.method, size_px=self.size_px, margin_px=self.margin_px)


def read_alignment(folder: Path) -> AlignSettings | None:
    """The settings that made the faces of a folder; None where `bench align` has not been.

    Raises:
        UserError: alignment.json cannot be understood.
    """
    path = folder / ALIGNMENT
    try:
        return AlignSettings.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise UserError(f"{path}: {where}: {first['msg'].lower()}; align into a new folder") from None


def settle(folder: Path, settings: AlignSettings) -> None:
    """Write the settings into a new folder; in an old one, see that they are the same.

    Raises:
        UserError: the folder holds other files, or faces that were aligned otherwise.
    """
    before = read_alignment(folder)
    if before is None:
        if folder.exists() and (not folder.is_dir() or _holds_files(folder)):
            raise UserError(f"{folder}: holds other files; name a new or an empty folder")
        try:
            write_json(folder / ALIGNMENT, settings.model_dump())
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UserError(f"{folder}: cannot be written ({reason}); name another folder") from error
        return
    old, new = before.model_dump(), settings.model_dump()
    different = [f"{key} {old[key]!r}, not {new[key]!r}" for key in new if old[key] != new[key]]
    if different:
        raise UserError(
            f"{folder}: was aligned with {'; '.join(different)}; give the same options or another folder"
        )


def _holds_files(folder: Path) -> bool:
    """Hidden ones aside: another part of the same alignment may be starting this moment."""
    return any(not path.name.startswith(".") for path in folder.iterdir())
