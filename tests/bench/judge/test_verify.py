"""`bench verify`: two photos and a verdict, and what it rests on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.align.photo import crop_face
from bench.images import decode_image
from bench.judge.models import model_of_run
from bench.results import Alignment, RunFolder, read_thresholds
from bench.tracking.progress import Ledger, Progress, save_ledger
from bench.verification import normalize, pair_distances

from ..conftest import Bench
from .conftest import Small

DATA = Path(os.environ.get("FACELOSS_DATA", "nowhere"))


def distance(run: Path, *photos: Path) -> float:
    model = model_of_run(run, torch.device("cpu"))
    pixels = np.stack([decode_image(photo.read_bytes(), 32) for photo in photos])
    left, right = normalize(model.embed(pixels, flip="none", batch_size=2))
    return float(pair_distances(left[None], right[None])[0])


def test_a_run_saves_thresholds_of_its_validation_pairs_alone(trained_run: Path) -> None:
    document = read_thresholds(trained_run / "thresholds.json")
    assert list(document.data) == ["rendered/validation"]
    entry = document.data["rendered/validation"]["1e-1"]
    # tiny.yaml has ten folds of three impostor pairs to validate on
    assert (entry.num_impostor, entry.false_accepts, entry.source) == (30, 3, "rendered/validation")
    assert entry.far == 0.1
    assert document.preprocessing.model_dump() == {
        "size_px": 32,
        "crop_px": None,
        "standardization": "fixed",
        "flip": "none",
        "alignment": None,
    }


def test_the_verdict_compares_the_distance_with_the_saved_threshold(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    one, other = (small.images / f"{name}.png" for name in small.names[:2])
    ended = bench_command("verify", str(trained_run), str(one), str(other), "--no-align", "--far", "0.1")
    assert (ended.code, ended.err) == (0, "")
    threshold = read_thresholds(trained_run / "thresholds.json").data["rendered/validation"]["1e-1"]
    assert threshold.threshold is not None
    measured = distance(trained_run, one, other)
    verdict = "same person" if measured < threshold.threshold else "different people"
    assert ended.out.splitlines() == [
        f"{verdict}  distance {measured:.4f}  {one}  {other}",
        f"threshold {threshold.threshold:.4f} (sqeuclidean) at FAR 1e-1, from 30 impostor pairs of "
        "rendered/validation",
        "chance of a false accept 10.000% (95% interval 3.460% to 25.621%)",
        "warning: FAR 1e-1 rests on 3 of 30 impostor pairs; it takes 300 to know it within 30 %",
    ]


def test_without_a_false_accept_the_chance_has_an_upper_bound_alone(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    photo = str(small.images / f"{small.names[0]}.png")
    ended = bench_command("verify", str(trained_run), photo, photo, "--no-align")
    assert ended.out.splitlines()[2] == (
        "no impostor pair was accepted there: the chance of a false accept is below 11.351% (95% interval)"
    )


def test_equal_photos_are_the_same_person_and_the_exit_code_is_zero_either_way(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    photo = str(small.images / f"{small.names[0]}.png")
    ended = bench_command("verify", str(trained_run), photo, photo, "--no-align", "--json")
    assert ended.code == 0
    document = json.loads(ended.out)
    assert document["pairs"] == [{"left": photo, "right": photo, "distance": 0.0, "same": True}]
    assert (document["far"], document["num_impostor"]) == ("1e-3", 30)
    assert document["warning"] == "FAR 1e-3 is below one of 30 impostor pairs: it cannot be measured"


def test_folders_mean_every_pair(bench_command: Bench, trained_run: Path, small: Small) -> None:
    person = small.images / "Person_A"

    def pairs(*paths: Path) -> list[tuple[str, str]]:
        ended = bench_command("verify", str(trained_run), *map(str, paths), "--no-align", "--json")
        assert ended.code == 0
        return [
            (Path(one["left"]).stem[-1], Path(one["right"]).stem[-1])
            for one in json.loads(ended.out)["pairs"]
        ]

    assert pairs(person) == [("1", "2"), ("1", "3"), ("2", "3")]
    assert pairs(person / "Person_A_0002.png", small.images / "Person_B") == [
        ("2", "1"),
        ("2", "2"),
        ("2", "3"),
    ]


def test_a_list_says_how_many_were_decided_as_it_says(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    a, b = (f"{name}.png" for name in (small.names[0], small.names[3]))
    (small.images / "list.csv").write_text(f"left,right,same\n{a},{a},1\n{b},{b},0\n")
    ended = bench_command("verify", str(trained_run), str(small.images / "list.csv"), "--no-align")
    assert ended.code == 0
    assert "1 of 2 pairs decided as the list says\n" in ended.out


def test_a_checkpoint_finds_the_thresholds_of_its_run(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    newest = sorted((trained_run / "checkpoints").glob("step-*.pt"))[-1]
    photo = str(small.images / f"{small.names[0]}.png")
    assert bench_command("verify", str(newest), photo, photo, "--no-align").code == 0


def test_a_threshold_for_other_images_is_refused(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    text = (trained_run / "thresholds.json").read_text()
    Path("other.json").write_text(text.replace('"size_px": 32', '"size_px": 64'))
    photo = str(small.images / f"{small.names[0]}.png")
    ended = bench_command("verify", str(trained_run), photo, photo, "--thresholds", "other.json")
    assert ended.code == 2
    assert ended.err == (
        f"other.json: holds for size_px 64, but {trained_run.name} has 32; give its own file\n"
    )


def test_mistakes_are_one_line(bench_command: Bench, trained_run: Path, small: Small) -> None:
    run, photo = str(trained_run), f"faces/{small.names[0]}.png"
    thresholds = trained_run / "thresholds.json"
    Path("text.jpg").write_text("no image")
    Path("empty").mkdir()
    Image.new("RGB", (200, 200), "grey").save("grey.png")
    Path("list.csv").write_text(f"left,right\n{photo},no.jpg\n")
    shutil.copy(thresholds, "damaged.json")
    Path("damaged.json").write_text(Path("damaged.json").read_text()[:100])
    for arguments, message in (
        ((photo,), "name two photos or folders, one folder, or one .csv with left,right; got 1 path"),
        ((photo, "no.jpg"), "no.jpg: does not exist; it should be an image or a folder of images"),
        ((photo, "text.jpg", "--no-align"), "text.jpg: is no image; it begins with b'no image'"),
        ((photo, "grey.png"), "grey.png: no face found; if the image is a face already, use --no-align"),
        (("list.csv",), "list.csv:2: there is no image no.jpg"),
        ((photo, photo, "--far", "2"), "--far must lie between 0 and 1, but got 2"),
        (
            (photo, photo, "--far", "5e-3"),
            f"{thresholds}: has no threshold for FAR 5e-3; there are 1e-1, 1e-2, 1e-3; 'bench eval --far' "
            "finds others",
        ),
        (
            (photo, photo, "--data", "rendered/validations"),
            f"{thresholds}: has no thresholds of 'rendered/validations'; there are rendered/validation; "
            "did you mean 'rendered/validation'?",
        ),
        (
            (photo, photo, "--thresholds", "no.json"),
            "no.json: does not exist; 'bench run' writes it at the end of a run, 'bench eval' for any model",
        ),
    ):
        ended = bench_command("verify", run, *arguments)
        # the first photo is noise, in which a detector may see anything: only the other's message counts
        if "grey.png" in arguments and ended.err.startswith("faces"):
            ended = bench_command("verify", run, "grey.png", "grey.png")
        assert (ended.code, ended.out, ended.err) == (2, "", message + "\n")
    ended = bench_command("verify", run, photo, photo, "--thresholds", "damaged.json")
    assert ended.code == 2
    assert ended.err.startswith("damaged.json: damaged, or of another version (JSON: ")


def test_photos_are_cut_out_as_the_thresholds_say_and_the_answer_says_how(
    bench_command: Bench, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    face = np.asarray(Image.new("RGB", (40, 40), (200, 150, 120)))

    def crop(photo: Image.Image, alignment: Alignment | None, *, name: str) -> Image.Image:
        asked.append(alignment)
        return Image.fromarray(face)

    monkeypatch.setattr("bench.judge.photos.crop_face", crop)
    document = read_thresholds(trained_run / "thresholds.json")
    alignment = Alignment(method="five_point", size_px=112, margin_px=0)
    preprocessing = document.preprocessing.model_copy(update={"alignment": alignment})
    document.model_copy(update={"preprocessing": preprocessing}).write(tmp_path / "aligned.json")
    Image.fromarray(face).save("photo.png")
    told = []
    for thresholds in (trained_run / "thresholds.json", tmp_path / "aligned.json"):
        ended = bench_command(
            "verify", str(trained_run), "photo.png", "photo.png", "--thresholds", str(thresholds)
        )
        assert ended.code == 0
        told.append(ended.out.splitlines()[-1])
    assert asked == [None, alignment]
    assert told == [
        "nothing tells how the faces of the thresholds were cut out of their pictures: taken is a square of "
        "1.1 x the detector's box",
        "faces cut out as those of the thresholds were: five points on ArcFace's template, 112 px",
    ]


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "raw_sample.tar").exists(), reason="needs FACELOSS_DATA with raw_sample.tar")
def test_faces_are_cut_out_of_photos_as_the_crops_of_the_data_were() -> None:
    with (DATA / "raw_sample_landmarks.csv").open() as stream:
        boxes = {row["file"]: row for row in csv.DictReader(stream) if row["file"].startswith("lfw/")}
    differences = []
    with tarfile.open(DATA / "raw_sample.tar") as photos, tarfile.open(DATA / "lfw_128.tar") as crops:
        known = set(crops.getnames())
        for name in sorted(name for name in boxes if name in known)[:8]:
            photo, crop = photos.extractfile(f"raw/{name}"), crops.extractfile(name)
            assert photo is not None
            assert crop is not None
            face = crop_face(Image.open(photo).convert("RGB"), None, name=name)
            side = 1.1 * max(float(boxes[name][f"{axis}2"]) - float(boxes[name][f"{axis}1"]) for axis in "xy")
            # another version of the detector's libraries moves a box by a few pixels
            assert face.width == pytest.approx(side, rel=0.06)
            resized = np.asarray(face.resize((128, 128), Image.Resampling.LANCZOS), float)
            differences.append(np.abs(np.asarray(Image.open(crop), float) - resized).mean())
    assert np.median(differences) < 10


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "raw_sample.tar").exists(), reason="needs FACELOSS_DATA with raw_sample.tar")
def test_two_real_photos_get_a_verdict(bench_command: Bench, trained_run: Path) -> None:
    names = ("Abdullah_Gul/Abdullah_Gul_0008.jpg", "Adam_Ant/Adam_Ant_0001.jpg")
    with tarfile.open(DATA / "raw_sample.tar") as archive:
        if hasattr(tarfile, "data_filter"):  # since 3.11.4
            archive.extraction_filter = tarfile.data_filter
        for name in names:
            archive.extract(f"raw/lfw/{name}")
    ended = bench_command("verify", str(trained_run), *(f"raw/lfw/{name}" for name in names), "--far", "0.1")
    assert ended.code == 0
    assert "distance" in ended.out


def test_a_run_is_named_by_its_folder_its_name_or_its_id_in_mlflow(
    bench_command: Bench, trained_run: Path, small: Small
) -> None:
    home = Path("runs", trained_run.name)
    shutil.copytree(trained_run, home)
    progress = Progress(run_id="0123456789abcdef" * 2)
    save_ledger(RunFolder(home), Ledger(run_key="key", stores={"sqlite:///mlflow.db": progress}))
    photo = str(small.images / f"{small.names[0]}.png")
    answers = {
        bench_command("verify", name, photo, photo, "--no-align").out
        for name in (str(trained_run), trained_run.name, "0123456789abcdef" * 2)
    }
    assert len(answers) == 1
    assert answers.pop().startswith("same person")
    ended = bench_command("verify", "0123456789abcdef", photo, photo)
    assert (ended.code, ended.err) == (2, "0123456789abcdef: no such run folder or checkpoint\n")
