"""`bench data audit`: planted people and pictures are found, and a run's record tells it."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import load_config, run
from bench.data.audit import audit_path, audit_verdict
from bench.data.rendered.dataset import Plan
from bench.data.rendered.render import render
from bench.data.rendered.streams import Split
from bench.engine import run_path
from bench.errors import UserError
from bench.results import DataAudit, RunFolder

from ...conftest import Bench


def picture(person: int, number: int = 0) -> Image.Image:
    (pixels,) = render(5, Split.TEST, [person], [number], size_px=64, threads=1)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def save(path: Path, image: Image.Image, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def sets(workspace: Path) -> None:
    """Four people to train on, three to test on; one person and one picture are in both."""
    for person in range(4):
        for number in range(1 + person):
            save(Path(f"train/Person_{person}/{number + 1}.png"), picture(person, number))
    save(Path("train/Anna Kournikova/1.png"), picture(10))
    save(Path("test/Kournikova_Anna/Kournikova_Anna_0001.jpg"), picture(10, 1))
    copy = picture(3, 2).resize((80, 80), Image.Resampling.BICUBIC)
    save(Path("test/Somebody/Somebody_0001.jpg"), copy, quality=80)
    for number in (1, 2):
        save(Path(f"test/Nobody/Nobody_{number:04d}.jpg"), picture(20, number))


@pytest.mark.usefixtures("sets")
def test_a_shared_person_and_a_shared_picture_are_found_and_said(bench_command: Bench) -> None:
    ended = bench_command("data", "audit", "train", "test", "--png", "tail.png")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == "train train: 5 people, 11 pictures"
    assert lines[2].split() == ["1", "2", "#" * 27]
    near = next(line for line in lines if " ~ " in line)
    assert near.startswith("  Person_3/3.png ~ Somebody/Somebody_0001.jpg, ")
    told = [line for line in lines[1:] if not line.startswith(" ") and not line.startswith("test ")]
    verdict = (
        "not clean: 1 people of the test are in the training set by name; "
        "1 test pictures have a near duplicate there"
    )
    assert told == [
        "names: 1 people of the test are in the training set",
        "hashes: 1 test pictures have a near duplicate in the training set",
        f"verdict: {verdict}",
        "warning: leave these people out of the training set, or figures on test are too good",
        f"written: {audit_path(Path('train'))}, tail.png",
    ]
    assert "  Anna Kournikova = Kournikova_Anna" in lines
    with Image.open("tail.png") as figure:
        assert figure.width > 600
    stored = json.loads(Path("train.audit.json").read_text())
    assert stored["shared_identities"] == [["Anna Kournikova", "Kournikova_Anna"]]
    assert stored["verdict"] == {
        "train": "train",
        "test": "test",
        "train_images": 11,
        "train_identities": 5,
        "test_images": 4,
        "test_identities": 3,
        "shared_identities": 1,
        "near_duplicates": 1,
        "embedding_duplicates": None,
        "embedding_model": "",
        "is_clean": False,
        "verdict": verdict,
    }


@pytest.mark.usefixtures("sets")
def test_only_what_the_protocol_names_counts(bench_command: Bench) -> None:
    Path("pairs.txt").write_text("1\t1\nNobody\t1\t2\nNobody\t1\tKournikova_Anna\t1\n")
    ended = bench_command("data", "audit", "train", "test", "--pairs", "pairs.txt", "--json", "new.json")
    assert ended.code == 0, ended.err
    assert "test test: 2 people, 3 pictures" in ended.out
    assert "hashes: 0 test pictures" in ended.out
    assert Path("new.json").is_file() and not Path("train.audit.json").exists()
    Path("pairs.txt").write_text("1\t1\nA\t1\t2\nA\t1\tB\t1\n")
    ended = bench_command("data", "audit", "train", "test", "--pairs", "pairs.txt")
    assert (ended.code, ended.err) == (
        2,
        "test: holds none of the 3 pictures of the protocol, such as A/A_0001\n",
    )


@pytest.mark.usefixtures("sets")
def test_archives_and_folders_give_the_same_audit(bench_command: Bench) -> None:
    with tarfile.open("train.tgz", "w:gz") as archive:
        archive.add("train")
    for train in ("train", "train.tgz"):
        assert bench_command("data", "audit", train, "test").code == 0
    whole, packed = (json.loads(Path(f"{name}.audit.json").read_text()) for name in ("train", "train.tgz"))
    assert packed["verdict"].pop("train") == "train.tgz"
    assert whole["verdict"].pop("train") == "train"
    assert whole == packed


@pytest.mark.usefixtures("sets")
def test_numbers_say_nothing_and_the_verdict_says_so(bench_command: Bench) -> None:
    for number, path in enumerate(sorted(Path("train").iterdir())):
        path.rename(f"train/{number:05d}")
    Path("train/00004/3.png").unlink()  # the shared picture
    ended = bench_command("data", "audit", "train", "test")
    assert "names: say nothing, those of the training set are numbers" in ended.out
    assert (
        "verdict: clean, as far as was looked: not at names (they are numbers) nor at embeddings (--run)"
        in ended.out
    )
    assert json.loads(Path("train.audit.json").read_text())["verdict"]["is_clean"] is True


@pytest.mark.usefixtures("sets")
def test_files_that_cannot_be_read_are_named(bench_command: Bench) -> None:
    Path("train/Person_0/broken.jpg").write_bytes(b"")
    ended = bench_command("data", "audit", "train", "test")
    assert ended.code == 0
    assert "unreadable: 1 pictures\n  Person_0/broken.jpg: the file is empty\n" in ended.out


@pytest.mark.usefixtures("sets")
def test_pictures_are_also_compared_by_the_embeddings_of_a_run(bench_command: Bench) -> None:
    config = load_config("tiny.yaml")
    run(config, track=False)
    ended = bench_command("data", "audit", "train", "test", "--run", str(run_path(config)))
    assert ended.code == 0, ended.err
    assert "embeddings: 1 test pictures have one by embedding" in ended.out
    stored = json.loads(Path("train.audit.json").read_text())
    ((ours, theirs, distance),) = stored["embedding_duplicates"]
    assert (ours, theirs) == ("Person_3/3.png", "Somebody/Somebody_0001.jpg")
    assert 0 < distance < 0.1
    assert stored["verdict"]["embedding_model"] == run_path(config).name
    assert stored["verdict"]["verdict"].endswith("; 1 have one by embedding")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone", "test"], "gone: does not exist; name a folder of pictures or a tar archive"),
        (
            ["train", "test", "--json", "no/x.json"],
            "no/x.json: there is no folder no; name another file with --json",
        ),
        (["train", "test", "--run", "gone"], "gone: no such run folder or checkpoint"),
        (["train", "test", "--png", "x.abc"], "x.abc: .abc is no image format; use .png or .svg"),
    ],
)
@pytest.mark.usefixtures("sets")
def test_mistakes_are_one_line(bench_command: Bench, arguments: list[str], message: str) -> None:
    ended = bench_command("data", "audit", *arguments)
    assert (ended.code, ended.err) == (2, f"{message}\n")
    assert not Path("train.audit.json").exists()


@pytest.mark.usefixtures("sets")
def test_the_verdict_is_found_beside_the_data_as_long_as_the_data_is_the_same(bench_command: Bench) -> None:
    assert audit_verdict(Path("train"), num_images=11) is None
    assert bench_command("data", "audit", "train", "test").code == 0
    verdict = audit_verdict(Path("train"), num_images=11)
    assert verdict is not None and verdict.shared_identities == 1
    assert audit_verdict(Path("train"), num_images=12) is None
    Path("train.audit.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"train\.audit\.json: is no audit; remove it, or run 'bench data audit train"
    ):
        audit_verdict(Path("train"), num_images=11)


def test_the_record_of_a_run_carries_the_verdict_of_its_data(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = DataAudit(
        train="a",
        test="b",
        train_images=1,
        train_identities=1,
        test_images=1,
        test_identities=1,
        shared_identities=17,
        near_duplicates=0,
        is_clean=False,
        verdict="not clean: 17 people",
    )
    real = Plan.open
    monkeypatch.setattr(Plan, "open", lambda *args: dataclasses.replace(real(*args), audit=verdict))
    config = load_config("tiny.yaml", ["train.epochs=1"])
    run(config, track=False)
    record = RunFolder(run_path(config)).record()
    assert record is not None and record.data_audit == verdict
    stream = io.StringIO(record.model_dump_json())
    assert json.load(stream)["data_audit"]["shared_identities"] == 17
