"""How long alignment takes: a loop on one thread, and two processes of one thread. Asserts no time.

    FACELOSS_DATA=... tox -e speed -- tests/speed/test_align_speed.py

The sample's 500 originals; the start of the processes is part of the time. Boxes and landmarks are the same.
"""

from __future__ import annotations

import csv
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bench.data.align import AlignSettings, align
from bench.data.align.journal import Journal
from bench.data.align.landmarks import Landmarks

from .conftest import Race

pytestmark = pytest.mark.data


def data(benchmark: Any, *names: str) -> list[Path]:
    """That several workers find what one finds: tests/bench/data/align/test_align.py, on fewer pictures."""
    if not benchmark.enabled:
        pytest.skip("takes minutes, to be timed: needs --benchmark-enable")
    folder = os.environ.get("FACELOSS_DATA")
    paths = [Path(folder or "") / name for name in names]
    if not folder or not all(path.is_file() for path in paths):
        pytest.skip(f"needs FACELOSS_DATA: a folder with {', '.join(names)}")
    return paths


def usual_loop(path: Path) -> list[tuple[str, list[float]]]:
    """facenet-pytorch as its examples use it: open, detect, crop, save; one picture after the other."""
    from facenet_pytorch import MTCNN, extract_face

    detector = MTCNN(keep_all=True)
    found = []
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            with Image.open(io.BytesIO(content.read())) as opened:
                image = opened.convert("RGB")
            boxes, _ = detector.detect(image)
            if boxes is not None:
                extract_face(image, boxes[0], 160, 14)
                found.append((member.name.partition("/")[2], [float(value) for value in boxes[0]]))
    return found


def detections(folder: Path, names: list[str]) -> list[tuple[float, ...]]:
    with Journal(folder / ".align.sqlite") as journal:
        return [known.box for name in names if (known := journal.find(name)) is not None]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.timeout(1800)
def test_aligning(race: Race, benchmark: Any, workers: int, tmp_path: Path) -> None:
    path, landmarks = data(benchmark, "raw_sample.tar", "raw_sample_landmarks.csv")
    torch.set_num_threads(1)
    folders = iter(range(100))

    def once() -> Path:
        folder = tmp_path / str(next(folders))
        align(path, folder, AlignSettings(), devices=["cpu"] * workers)
        return folder

    race(
        "Alignment: 500 originals of 250 px, MTCNN, crops of 160 px",
        "one process" if workers == 1 else f"{workers} processes of one thread, their start included",
        ours=once,
        peers={"facenet-pytorch's usual loop": lambda: usual_loop(path)},
        large=True,
    )
    with landmarks.open(newline="") as stream:
        names = [row["file"] for row in csv.DictReader(stream)]
    align(path, tmp_path / "one", AlignSettings())
    found = detections(tmp_path / "one", names)
    assert len(found) > 490
    assert detections(tmp_path / "0", names) == found


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.timeout(1800)
def test_given_landmarks(race: Race, benchmark: Any, workers: int, tmp_path: Path) -> None:
    path, landmarks = data(benchmark, "lfw_128.tar", "lfw_landmarks.csv")
    torch.set_num_threads(1)
    folders = iter(range(100))

    def once() -> None:
        settings = AlignSettings(method="five_point", size_px=112, margin_px=0)
        folder = tmp_path / str(next(folders))
        align(path, folder, settings, landmarks=Landmarks(landmarks), devices=["cpu"] * workers)

    race(
        "Alignment: five points given, 7,701 crops of 128 px",
        "one process" if workers == 1 else f"{workers} processes of one thread, their start included",
        ours=once,
        large=True,
    )
