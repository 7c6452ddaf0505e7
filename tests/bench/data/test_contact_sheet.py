"""The contact sheet of `bench data preview`."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bench.data.contact_sheet import GAP_PX, PAPER, contact_sheet, first_faces, save_contact_sheet
from bench.data.faces import FaceSet
from bench.errors import UserError


def numbered(rows, columns, size=5):
    """Each picture of one grey: its row and column."""
    values = (10 * np.arange(rows)[:, None] + np.arange(columns)[None]).astype(np.uint8)
    return np.broadcast_to(values[:, :, None, None, None], (rows, columns, 3, size, size))


def test_rows_are_people_and_columns_their_pictures():
    sheet = np.asarray(contact_sheet(numbered(2, 3)))
    assert sheet.shape == (2 * (5 + GAP_PX) + GAP_PX, 3 * (5 + GAP_PX) + GAP_PX, 3)
    step, middle = 5 + GAP_PX, GAP_PX + 2
    centres = sheet[middle::step, middle::step, 0]
    assert centres.tolist() == [[0, 1, 2], [10, 11, 12]]
    assert (sheet[:GAP_PX] == PAPER).all()


def test_zoom_repeats_pixels():
    assert contact_sheet(numbered(1, 1), zoom=3).size == (3 * 9, 3 * 9)


def test_saved_sheet_reads_back(tmp_path):
    save_contact_sheet(tmp_path / "new" / "sheet.png", numbered(2, 2))
    with Image.open(tmp_path / "new" / "sheet.png") as image:
        assert image.size == (16, 16) and image.mode == "RGB"


def test_unknown_suffix_and_unwritable_place_are_user_errors(tmp_path):
    with pytest.raises(UserError, match=r"sheet\.xyz: \.xyz is no image format; use \.png or \.jpg$"):
        save_contact_sheet(tmp_path / "sheet.xyz", numbered(1, 1))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_contact_sheet(tmp_path / "file" / "sheet.png", numbered(1, 1))


def test_first_faces_leave_white_what_a_person_lacks():
    labels = np.array([0, 1, 0, 1, 1])
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 2), np.uint8)
    chosen = first_faces(FaceSet(images, labels, ("A", "B")), rows=9, columns=3)
    assert chosen[:, :, 0, 0, 0].tolist() == [[0, 2, PAPER], [1, 3, 4]]
