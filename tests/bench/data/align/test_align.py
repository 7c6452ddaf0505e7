"""`bench align`: the whole way, its report, and what an interruption costs."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

import bench.data.align.workers as workers_module
from bench.data.align import AlignSettings, align, read_alignment
from bench.data.align.journal import Journal
from bench.data.align.landmarks import COLUMNS
from bench.data.align.run import Shard
from bench.errors import BenchError, UserError
from bench.images import list_folder

from ...conftest import Bench
from .conftest import Pack, encoded

NO_FACE = Image.new("RGB", (64, 64), (90, 120, 150))


def report(folder: Path, name: str = "report.csv") -> dict[str, dict[str, str]]:
    with (folder / name).open(newline="", encoding="utf-8") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


def written(folder: Path) -> dict[str, str]:
    """Name and digest of every face."""
    paths = [path for path in folder.rglob("*/*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_a_folder_is_aligned_and_the_settings_stand_beside_the_faces(
    bench_command: Bench, people: Path
) -> None:
    ended = bench_command("align", "people", "out", "--workers", "1", "--size", "64")
    assert ended.code == 0, ended.err
    first, second = ended.out.splitlines()[:2]
    assert first.startswith("out: 6 pictures, 64 x 64 px, 0 kept from before, ")
    assert second == "6 aligned, 0 doubtful, 0 without a face, 0 unreadable"
    for path in people.rglob("*.png"):
        with Image.open(Path("out") / path.relative_to(people).with_suffix(".jpg")) as face:
            assert (face.size, face.format) == ((64, 64), "JPEG")
    settings = read_alignment(Path("out"))
    assert settings is not None
    assert settings.model_dump(exclude={"detector"}) == {
        "method": "box",
        "size_px": 64,
        "margin_px": 32,
        "min_face_px": 20,
        "misses": "center",
        "format": "jpg",
        "landmarks_sha256": "",
        "source": "people",
    }
    assert settings.detector.startswith("MTCNN, facenet-pytorch 2.5.")
    assert report(Path("out")) == {}
    assert list_folder(Path("out"), "data.root").identities == ("Person_0", "Person_1", "Person_2")


def test_several_processes_write_the_same_faces_as_one_also_from_an_archive(
    bench_command: Bench, people: Path, pack: Pack
) -> None:
    pack({f"wrapped/{path.relative_to(people)}": path.read_bytes() for path in sorted(people.rglob("*.png"))})
    one = bench_command("align", "people", "one", "--workers", "1", "--format", "png")
    two = bench_command("align", "people.tar", "two", "--workers", "2", "--format", "png")
    assert (one.code, two.code) == (0, 0), one.err + two.err
    assert written(Path("one")) == written(Path("two"))
    assert len(written(Path("one"))) == 6


def test_five_points_land_on_the_template(people: Path, tmp_path: Path) -> None:
    from bench.data.align.detector import Detector
    from bench.data.align.face import choose
    from bench.data.align.geometry import template

    align(
        people, tmp_path / "out", AlignSettings(method="five_point", size_px=112, margin_px=0, format="png")
    )
    detector = Detector()
    for path in (tmp_path / "out").rglob("*/*.png"):
        with Image.open(path) as face:
            found = choose(detector(face), face.size)
        assert np.abs(found.landmarks - template(112)).mean() < 4


def bad_files(faces: list[Image.Image]) -> dict[str, bytes]:
    whole = encoded(faces[0], "JPEG", quality=95)
    crowd = Image.new("RGB", (250, 120), (90, 120, 150))
    crowd.paste(faces[0], (10, 12))
    crowd.paste(faces[1], (140, 12))
    return {
        "A/good.jpg": whole,
        "A/cut off.jpg": whole[: len(whole) // 2],
        "A/empty.jpg": b"",
        "A/web page.jpg": b"<html>",
        "A/no face.png": encoded(NO_FACE),
        "A/tiny.png": encoded(NO_FACE.resize((5, 7))),
        "A/crowd.png": encoded(crowd),
        "B/grey.png": encoded(faces[0].convert("L")),
        "B/cmyk.jpg": encoded(faces[2].convert("CMYK"), "JPEG", quality=95),
        'B/new\nline, "quoted".png': encoded(NO_FACE),
        "B/é ü.png": encoded(faces[3]),
        "B/palette.gif": encoded(faces[4].convert("P"), "GIF"),
    }


def test_everything_that_is_not_simply_a_face_stands_in_the_report(
    bench_command: Bench, pack: Pack, faces: list[Image.Image]
) -> None:
    pack({**bad_files(faces), "../evil.jpg": b"x", "A/notes.txt": b"x"}, "bad.tar")
    ended = bench_command("align", "bad.tar", "out", "--workers", "1")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[1:] == [
        "5 aligned, 1 doubtful, 3 without a face, 4 unreadable",
        "1 files that are no pictures were passed over",
        "to look at: out/report.csv, out/report.png",
    ]
    rows = {name: (row["status"], row["reason"]) for name, row in report(Path("out")).items()}
    cut_off = rows.pop("A/cut off.jpg")
    assert cut_off[0] == "unreadable" and cut_off[1].startswith("damaged: image file is truncated")
    assert rows == {
        "A/empty.jpg": ("unreadable", "the file is empty"),
        "A/web page.jpg": ("unreadable", "not an image of a known kind"),
        "../evil.jpg": ("unreadable", "its name leads out of the archive's folder"),
        "A/no face.png": ("no_face", "no face found; centre used"),
        "A/tiny.png": ("no_face", "no face found; centre used"),
        'B/new\nline, "quoted".png': ("no_face", "no face found; centre used"),
        "A/crowd.png": ("doubtful", "several faces"),
    }
    assert not Path("evil.jpg").exists()
    assert len(written(Path("out"))) == 9
    with Image.open("out/report.png") as sheet:
        assert sheet.width == 7 * 132 + 4 + 132  # eight tiles in one row


def test_misses_may_be_left_out_but_are_still_told(
    bench_command: Bench, pack: Pack, faces: list[Image.Image]
) -> None:
    pack({"A/1.png": encoded(faces[0]), "A/2.png": encoded(NO_FACE)})
    ended = bench_command("align", "people.tar", "out", "--workers", "1", "--misses", "skip")
    assert ended.code == 0
    assert list(written(Path("out"))) == ["A/1.jpg"]
    row = report(Path("out"))["A/2.png"]
    assert (row["status"], row["reason"], row["output"]) == ("no_face", "no face found; skipped", "")


def test_two_pictures_that_would_have_one_name_do_not_overwrite_each_other(
    bench_command: Bench, pack: Pack, faces: list[Image.Image]
) -> None:
    pack({"A/1.jpg": encoded(faces[0], "JPEG"), "A/1.png": encoded(faces[1]), "A/2.png": encoded(faces[2])})
    assert bench_command("align", "people.tar", "alone", "--workers", "1").code == 0
    assert bench_command("align", "people.tar", "out", "--workers", "2").code == 0
    assert written(Path("out")) == written(Path("alone"))
    assert report(Path("out"))["A/1.png"]["reason"] == "its face would have the name of that of A/1.jpg"


def test_a_rerun_keeps_what_is_good_and_does_what_is_missing(
    bench_command: Bench, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (people / "Person_0" / "no face.png").write_bytes(encoded(NO_FACE))
    (people / "Person_0" / "broken.png").write_bytes(b"")
    arguments = ("align", "people", "out", "--workers", "1")
    assert bench_command(*arguments).code == 0
    before = written(Path("out"))
    first_report = Path("out/report.csv").read_text()
    kept = Path("out/Person_1/Person_1_0001.jpg")
    stamp = kept.stat().st_mtime_ns
    Path("out/Person_0/Person_0_0001.jpg").unlink()
    Path("out/Person_2/Person_2_0002.jpg").write_bytes(b"half")
    ended = bench_command(*arguments)
    assert "8 pictures, 160 x 160 px, 5 kept from before" in ended.out
    assert written(Path("out")) == before
    assert kept.stat().st_mtime_ns == stamp
    assert Path("out/report.csv").read_text() == first_report

    (people / "Person_0" / "broken.png").write_bytes((people / "Person_1" / "Person_1_0001.png").read_bytes())
    assert bench_command(*arguments).out.splitlines()[1].endswith("0 unreadable")
    assert "broken.png" not in Path("out/report.csv").read_text()


def test_other_options_in_the_same_folder_are_refused(bench_command: Bench, people: Path) -> None:
    assert bench_command("align", "people", "out", "--workers", "1").code == 0
    ended = bench_command("align", "people", "out", "--size", "182", "--margin", "44")
    assert (ended.code, ended.err) == (
        2,
        "out: was aligned with size_px 160, not 182; margin_px 32, not 44; "
        "give the same options or another folder\n",
    )


def test_faces_of_another_source_are_not_mixed_in(bench_command: Bench, people: Path) -> None:
    assert bench_command("align", "people", "out", "--workers", "1").code == 0
    shutil.copytree(people, "others")
    ended = bench_command("align", "others", "out", "--workers", "1")
    assert (ended.code, ended.err) == (
        2,
        "out: was aligned with source 'people', not 'others'; give the same options or another folder\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone", "out"], "gone: does not exist; name a folder of pictures or a tar archive"),
        (["people", "people/out"], "people/out: lies in the source people; name a folder beside it"),
        (["people", "full"], "full: holds other files; name a new or an empty folder"),
        (["people", "file/out"], "file/out: cannot be written (not a directory); name another folder"),
        (["people", "file"], "file: holds other files; name a new or an empty folder"),
        (
            ["people", "out", "--method", "five_point", "--margin", "4"],
            "--margin: is of --method box; five_point takes its place from the template",
        ),
        (
            ["people", "out", "--method", "box", "--landmarks", "points.csv"],
            "--method box: needs boxes, --landmarks gives points; leave one of the two out",
        ),
        (
            ["people", "out", "--landmarks", "gone.csv"],
            "gone.csv: cannot be read (no such file or directory)",
        ),
        (
            ["people", "out", "--device", "gpu"],
            "--device: 'gpu' is not a device; use auto, cpu, cuda or cuda:0",
        ),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    bench_command: Bench, people: Path, arguments: list[str], message: str
) -> None:
    Path("full").mkdir()
    Path("full/thesis.tex").write_text("x")
    Path("file").write_text("x")
    ended = bench_command("align", *arguments)
    assert (ended.code, ended.err, ended.out) == (2, f"{message}\n", "")
    assert not Path("out").exists() and [path.name for path in Path("full").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("value", ["0/2", "3/2", "1", "a/b"])
def test_a_shard_is_i_of_n(bench_command: Bench, people: Path, value: str) -> None:
    ended = bench_command("align", "people", "out", "--shard", value)
    assert ended.code == 2
    assert f"{value!r} is not i/n with i from 1 to n, such as 1/4" in ended.err.replace("\n", " ")


def test_shards_share_the_work_and_have_a_report_each(people: Path, tmp_path: Path) -> None:
    (people / "Person_0" / "no face.png").write_bytes(encoded(NO_FACE))
    whole = align(people, tmp_path / "whole", AlignSettings())
    parts = [
        align(people, tmp_path / "parts", AlignSettings(), shard=Shard(number, 3)) for number in (1, 2, 3)
    ]
    assert written(tmp_path / "parts") == written(tmp_path / "whole")
    assert sum(sum(part.counts.values()) for part in parts) == sum(whole.counts.values()) == 7
    rows: dict[str, dict[str, str]] = {}
    for number in (1, 2, 3):
        rows |= report(tmp_path / "parts", f"report-{number}of3.csv")
    assert rows == report(tmp_path / "whole")


def test_two_at_work_on_one_folder_are_one_too_many(people: Path, tmp_path: Path) -> None:
    align(people, tmp_path / "out", AlignSettings())
    with FileLock(tmp_path / "out" / ".align.lock"), pytest.raises(UserError) as caught:
        align(people, tmp_path / "out", AlignSettings())
    assert str(caught.value) == f"{tmp_path}/out: another 'bench align' is at work there; wait for it"


def test_names_that_are_no_unicode_are_kept_on_the_disk_and_spelled_out_in_the_report(
    tmp_path: Path, faces: list[Image.Image]
) -> None:
    root = tmp_path / "odd"
    (root / "A").mkdir(parents=True)
    odd = root / "A" / os.fsdecode(b"\xff.png")
    odd.write_bytes(encoded(NO_FACE))
    for kept in (0, 1):
        summary = align(root, tmp_path / "out", AlignSettings())
        assert summary.num_kept == kept
    assert (tmp_path / "out" / "A" / os.fsdecode(b"\xff.jpg")).is_file()
    assert list(report(tmp_path / "out")) == ["A/\\xff.png"]


def test_a_full_disk_is_one_line_and_the_rerun_goes_on(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = workers_module.align_image, []

    def fill(task, settings, folder, detect):
        calls.append(task.name)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(task, settings, folder, detect)

    monkeypatch.setattr(workers_module, "align_image", fill)
    with pytest.raises(BenchError) as caught:
        align(people, tmp_path / "out", AlignSettings())
    assert str(caught.value) == (
        f"{tmp_path}/out: the disk is full; free some space and run the same command again: "
        "what is done stays"
    )
    summary = align(people, tmp_path / "out", AlignSettings())
    assert (summary.num_kept, summary.counts) == (3, {"aligned": 6})


def test_a_damaged_journal_says_what_to_do(people: Path, tmp_path: Path) -> None:
    align(people, tmp_path / "out", AlignSettings())
    path = tmp_path / "out" / ".align.sqlite"
    path.write_bytes(b"no database, but long enough to be read as one" * 100)
    with pytest.raises(UserError) as caught:
        align(people, tmp_path / "out", AlignSettings())
    assert str(caught.value) == (
        f"{path}: is damaged (file is not a database); remove it: every picture is then aligned again"
    )


def test_an_alignment_json_that_cannot_be_understood_says_where(people: Path, tmp_path: Path) -> None:
    align(people, tmp_path / "out", AlignSettings())
    path = tmp_path / "out" / "alignment.json"
    path.write_text(json.dumps({"size_px": "many"}))
    with pytest.raises(
        UserError, match=r"alignment\.json: size_px: input should be a valid integer, .*; align into a"
    ):
        align(people, tmp_path / "out", AlignSettings())


Write = Callable[[dict[str, list[float] | None]], Path]


@pytest.fixture
def points_csv(tmp_path: Path) -> Write:
    def write(rows: dict[str, list[float] | None], confidence: str = "1.0") -> Path:
        path = tmp_path / "points.csv"
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["file", "confidence", *COLUMNS])
            for name, points in rows.items():
                writer.writerow([name, confidence, *(points or [""] * 10)])
        return path

    return write


FIVE = [30.0, 40.0, 66.0, 40.0, 48.0, 60.0, 34.0, 76.0, 62.0, 76.0]


def test_given_landmarks_are_aligned_without_a_detector(
    bench_command: Bench, people: Path, points_csv: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.data.align.geometry import similarity, template, warp

    names = [str(path.relative_to(people)) for path in sorted(people.rglob("*.png"))]
    points_csv(dict.fromkeys(names[:4], FIVE) | {names[4]: None})
    ended = bench_command(
        "align", "people", "out", "--landmarks", "points.csv", "--workers", "1", "--format", "png"
    )
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[1] == "4 aligned, 0 doubtful, 2 without a face, 0 unreadable"
    with Image.open(people / names[0]) as image:
        expected = warp(image, similarity(np.array(FIVE).reshape(5, 2), template(112)), size_px=112)
    with Image.open(Path("out") / names[0]) as face:
        np.testing.assert_array_equal(np.asarray(face), np.asarray(expected))
    rows = report(Path("out"))
    assert {name: row["reason"] for name, row in rows.items()} == dict.fromkeys(
        names[4:], "no landmarks given; centre used"
    )
    settings = read_alignment(Path("out"))
    assert settings is not None
    assert (settings.method, settings.size_px, settings.detector) == ("five_point", 112, "landmarks")
    assert settings.landmarks_sha256 == hashlib.sha256(Path("points.csv").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,left_eye_x\n", "points.csv:1: column 'left_eye_y' is missing; did you mean 'left_eye_x'?"),
        ("", "points.csv:1: column 'file' is missing"),
    ],
)
def test_a_csv_without_the_columns_names_the_first_that_is_missing(
    bench_command: Bench, people: Path, text: str, message: str
) -> None:
    Path("points.csv").write_text(text)
    ended = bench_command("align", "people", "out", "--landmarks", "points.csv")
    assert (ended.code, ended.err) == (2, message + "\n")


def test_a_number_that_is_none_names_its_line(bench_command: Bench, people: Path, points_csv: Write) -> None:
    path = points_csv({"Person_0/Person_0_0001.png": FIVE})
    path.write_text(path.read_text().replace("76.0", "x"))
    ended = bench_command("align", "people", "out", "--landmarks", "points.csv")
    assert ended.code == 2
    assert ended.err.startswith("points.csv:2: landmarks must be numbers, got ")


def test_landmarks_of_other_pictures_are_refused(
    bench_command: Bench, people: Path, points_csv: Write
) -> None:
    points_csv({"Somebody/1.png": FIVE})
    ended = bench_command("align", "people", "out", "--landmarks", "points.csv")
    assert (ended.code, ended.err) == (
        2,
        "points.csv: names no picture of people; it says 'Somebody/1.png', the source "
        "'Person_0/Person_0_0001.png'\n",
    )


def test_the_journal_keeps_only_as_many_thumbs_as_the_sheet_shows(tmp_path: Path) -> None:
    from bench.data.align.image import Outcome
    from bench.data.align.journal import THUMBS_KEPT

    with Journal(tmp_path / "journal") as journal:
        for number in range(THUMBS_KEPT + 5):
            journal.add(Outcome(f"{number:04d}", "doubtful", "several faces", thumb=b"x"))
        assert sum(bool(outcome.thumb) for outcome in journal.reported()) == THUMBS_KEPT
