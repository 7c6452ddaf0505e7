"""One picture: decode, find the face, cut it out, write it."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw

from bench.data.align.face import LOW_CONFIDENCE, Face, choose, doubts
from bench.data.align.geometry import CENTRE, Points, crop_box, crop_centre, similarity, template, warp
from bench.data.align.picture import UnreadableError, read_picture
from bench.data.align.settings import AlignSettings
from bench.data.align.source import Entry

Status = Literal["aligned", "doubtful", "no_face", "unreadable"]
Detect = Callable[[Image.Image], Sequence[Face]]

JPEG_QUALITY = 95
THUMB_PX = 128


@dataclass(frozen=True, slots=True)
class Task:
    """One picture to align.

    Args:
        entry: its name and bytes.
        name: as the report shows it; differs where the name is no Unicode.
        output: of the face, relative to the folder of the aligned faces.
        points: (5, 2) where they are given and not detected.
        confidence: of given points; nan where nobody says.
    """

    entry: Entry
    name: str
    output: str
    points: Points | None = None
    confidence: float = math.nan


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture: a row of the journal and of the report.

    Args:
        name: of the picture in its source.
        status: aligned; doubtful: aligned, but a person should look; no_face; unreadable.
        reason: for every status but aligned.
        output: of the face, relative; "" where none was written.
        num_bytes: of the output; 0 where none was written.
        num_faces: found in the picture.
        confidence: of the chosen face, nan without.
        box: x1, y1, x2, y2 of the chosen face in the picture, or empty.
        landmarks: x, y of its five points, or empty.
        thumb: a small JPEG of the picture with what was found in it, for everything that the report shows.
    """

    name: str
    status: Status
    reason: str = ""
    output: str = ""
    num_bytes: int = 0
    num_faces: int = 0
    confidence: float = math.nan
    box: tuple[float, ...] = ()
    landmarks: tuple[float, ...] = ()
    thumb: bytes = b""


def align_image(task: Task, settings: AlignSettings, folder: Path, detect: Detect | None) -> Outcome:
    """Do one picture; `detect` is None where landmarks are given.

    Raises:
        OSError: the face cannot be written (a full disk); nothing is left half-written.
    """
    if task.entry.problem is not None:
        return Outcome(task.name, "unreadable", task.entry.problem)
    try:
        image = read_picture(task.entry.read())
    except UnreadableError as error:
        return Outcome(task.name, "unreadable", str(error))
    except OSError as error:
        return Outcome(task.name, "unreadable", f"cannot be read ({(error.strerror or str(error)).lower()})")
    return (
        _given(task, image, settings, folder)
        if detect is None
        else _detected(task, image, settings, folder, detect(image))
    )


def _detected(
    task: Task, image: Image.Image, settings: AlignSettings, folder: Path, faces: Sequence[Face]
) -> Outcome:
    if not faces:
        return _missed(task, image, settings, folder, "no face found", CENTRE)
    face = choose(faces, image.size)
    try:
        if settings.method == "five_point":
            crop = _five_point(image, face.landmarks, settings.size_px)
        else:
            crop = crop_box(image, face.box, margin_px=settings.margin_px, size_px=settings.size_px)
    except ValueError as error:
        return _missed(task, image, settings, folder, str(error), CENTRE)
    reasons = doubts(face, faces)
    return Outcome(
        task.name,
        "doubtful" if reasons else "aligned",
        "; ".join(reasons),
        task.output,
        _write(crop, folder / task.output, settings),
        len(faces),
        face.confidence,
        face.box,
        tuple(face.landmarks.ravel().tolist()),
        _thumb(image, faces, face) if reasons else b"",
    )


def _given(task: Task, image: Image.Image, settings: AlignSettings, folder: Path) -> Outcome:
    if task.points is None:
        return _missed(task, image, settings, folder, "no landmarks given", 1.0)
    try:
        crop = _five_point(image, task.points, settings.size_px)
    except ValueError as error:
        return _missed(task, image, settings, folder, str(error), 1.0)
    is_doubtful = task.confidence < LOW_CONFIDENCE
    return Outcome(
        task.name,
        "doubtful" if is_doubtful else "aligned",
        "low confidence" if is_doubtful else "",
        task.output,
        _write(crop, folder / task.output, settings),
        1,
        task.confidence,
        (),
        tuple(task.points.ravel().tolist()),
        _thumb(image, (), None) if is_doubtful else b"",
    )


def _five_point(image: Image.Image, points: Points, size_px: int) -> Image.Image:
    return warp(image, similarity(points, template(size_px)), size_px=size_px)


def _missed(
    task: Task, image: Image.Image, settings: AlignSettings, folder: Path, reason: str, part: float
) -> Outcome:
    """Landmarks are given for crops, which are all face: there the whole square is the best guess."""
    thumb = _thumb(image, (), None)
    if settings.misses == "skip":
        return Outcome(task.name, "no_face", f"{reason}; skipped", thumb=thumb)
    crop = crop_centre(image, size_px=settings.size_px, part=part)
    num_bytes = _write(crop, folder / task.output, settings)
    return Outcome(task.name, "no_face", f"{reason}; centre used", task.output, num_bytes, thumb=thumb)


def _write(crop: Image.Image, path: Path, settings: AlignSettings) -> int:
    """Write the face under a name that it takes when it is whole; its size in bytes.

    The bytes are not forced to the disk one by one, which would cost more than the alignment: a rerun
    compares sizes with the journal instead.
    """
    stream = io.BytesIO()
    if settings.format == "jpg":
        crop.save(stream, "JPEG", quality=JPEG_QUALITY)
    else:
        crop.save(stream, "PNG")
    temporary = path.with_name(f".{path.name}.part")  # the same at a rerun: no litter after a kill
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(stream.getbuffer())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return stream.getbuffer().nbytes


def _thumb(image: Image.Image, faces: Sequence[Face], chosen: Face | None) -> bytes:
    """The picture, small: the chosen face in green, others in red."""
    scale = THUMB_PX / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(small)
    for face in faces:
        corners = [value * scale for value in face.box]
        draw.rectangle(corners, outline="lime" if face is chosen else "red", width=2 if face is chosen else 1)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=85)
    return stream.getvalue()
