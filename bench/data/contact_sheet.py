"""Many small pictures on one: a data set at a glance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.faces import FaceSet
from bench.errors import UserError

GAP_PX = 2
PAPER = 255


def contact_sheet(images: NDArray[np.uint8], *, zoom: int = 1) -> Image.Image:
    """One identity a row.

    Args:
        images: see Shape.
        zoom: each pixel becomes zoom x zoom.

    Shape:
        images: (rows, columns, 3, H, W) uint8.
    """
    rows, columns, _, height, width = images.shape
    sheet = np.full(
        (rows * (height + GAP_PX) + GAP_PX, columns * (width + GAP_PX) + GAP_PX, 3), PAPER, np.uint8
    )
    for row in range(rows):
        for column in range(columns):
            top, left = GAP_PX + row * (height + GAP_PX), GAP_PX + column * (width + GAP_PX)
            sheet[top : top + height, left : left + width] = images[row, column].transpose(1, 2, 0)
    picture = Image.fromarray(sheet)
    return picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)


def save_contact_sheet(path: Path, images: NDArray[np.uint8], *, zoom: int = 1) -> None:
    """Write the sheet as an image file; the suffix says which kind.

    Raises:
        UserError: an unknown suffix, or a place that cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(images, zoom=zoom).save(path)
    except ValueError as error:
        raise UserError(
            f"{path}: {path.suffix or 'no suffix'} is no image format; use .png or .jpg"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def first_faces(faces: FaceSet, *, rows: int, columns: int) -> NDArray[np.uint8]:
    """The first images of the first people; places stay white where a person has fewer.

    Shape:
        returns (min(rows, num_identities), columns, 3, H, W).
    """
    chosen = []
    for label in range(min(rows, faces.num_identities)):
        own = np.flatnonzero(faces.labels == label)
        shown = faces.images[np.resize(own, columns)]
        chosen.append(np.where(np.arange(columns)[:, None, None, None] < len(own), shown, np.uint8(PAPER)))
    return np.stack(chosen)
