"""MTCNN behind one door: pictures that facenet-pytorch raises on, and the choice among faces."""

from __future__ import annotations

import numpy as np
import pytest
from facenet_pytorch import MTCNN
from PIL import Image

from bench.data.align.detector import Detector
from bench.data.align.face import Face, choose, doubts

POINTS = np.zeros((5, 2))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


def face(x1: float, y1: float, x2: float, y2: float, confidence: float = 1.0) -> Face:
    return Face((x1, y1, x2, y2), confidence, POINTS)


def test_a_rendered_face_is_found_where_it_is(detector: Detector, faces: list[Image.Image]) -> None:
    for image in faces:
        found = choose(detector(image), image.size)
        left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks
        assert found.confidence > 0.9
        assert left_eye[0] < nose[0] < right_eye[0] and left_eye[1] < nose[1] < left_mouth[1]
        assert left_mouth[0] < right_mouth[0]
        assert found.box[0] < left_eye[0] and found.box[2] > right_eye[0]


def test_it_finds_what_facenet_pytorch_finds_to_the_last_bit(
    detector: Detector, faces: list[Image.Image]
) -> None:
    for image in faces:
        boxes, confidences, landmarks = MTCNN(keep_all=True, device="cpu").detect(image, landmarks=True)
        found = detector(image)
        assert len(found) == len(boxes) > 0
        for one, box, confidence, points in zip(found, boxes, confidences, landmarks, strict=True):
            assert one.box == tuple(box.tolist())
            assert one.confidence == float(confidence)
            np.testing.assert_array_equal(one.landmarks, points.astype(np.float64))


def test_a_face_moves_with_its_picture(detector: Detector, faces: list[Image.Image]) -> None:
    wide = Image.new("RGB", (300, 200), (90, 120, 150))
    wide.paste(faces[0], (180, 70))
    alone, moved = (choose(detector(image), image.size) for image in (faces[0], wide))
    assert np.abs(moved.landmarks - alone.landmarks - [180, 70]).max() < 4


def test_a_large_picture_is_looked_at_small_and_answers_in_its_own_pixels(
    detector: Detector, faces: list[Image.Image]
) -> None:
    large = faces[0].resize((2400, 2400), Image.Resampling.BICUBIC)
    found = choose(detector(large), large.size)
    expected = choose(detector(faces[0]), faces[0].size).landmarks * 25
    assert np.abs(found.landmarks - expected).max() < 130  # 5 px of the small one


@pytest.mark.parametrize("size", [(1, 1), (15, 15), (19, 400), (400, 19), (20, 20), (21, 37)])
def test_tiny_and_narrow_pictures_have_no_face_and_raise_nothing(
    detector: Detector, size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    assert detector(Image.fromarray(noise)) == []


def test_of_several_faces_the_largest_near_the_middle_is_chosen() -> None:
    small_central, large_far = face(80, 80, 120, 120), face(0, 0, 60, 60)
    # 1600 - 0 against 3600 - 2 * (70^2 + 70^2)
    assert choose([large_far, small_central], (200, 200)) is small_central
    large_near = face(60, 60, 150, 150)
    assert choose([small_central, large_near], (200, 200)) is large_near


@pytest.mark.parametrize(
    ("chosen", "other", "expected"),
    [
        (face(0, 0, 100, 100), face(0, 0, 60, 60), ()),
        (face(0, 0, 100, 100), face(0, 0, 80, 80), ("several faces",)),
        (face(0, 0, 100, 100), face(0, 0, 80, 80, 0.8), ()),
        (face(0, 0, 100, 100, 0.9), face(0, 0, 1, 1), ("low confidence",)),
        (face(0, 0, 30, 50), face(0, 0, 1, 1), ("tiny face",)),
        (face(0, 0, 30, 30, 0.7), face(0, 0, 29, 29), ("low confidence", "tiny face", "several faces")),
    ],
)
def test_what_a_person_should_look_at(chosen: Face, other: Face, expected: tuple[str, ...]) -> None:
    assert doubts(chosen, [other, chosen]) == expected
