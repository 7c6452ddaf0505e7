"""`bench data pack`, `bench data verify` and `data: {name: packed}`."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from bench.data import Data
from bench.data.align import ALIGNMENT, AlignSettings
from bench.data.cache import MANIFEST, SPOT_BLOCKS, SPOT_BYTES
from bench.data.folder import folder
from bench.data.opened import open_packed
from bench.data.packed import packed
from bench.data.packing import Form, pack_images, verify_pack
from bench.data.protocols import ProtocolOptions
from bench.data.split import Validation
from bench.errors import BenchError, UserError
from bench.images import decode_image
from bench.results import write_json

from ..conftest import Bench
from ..insightface import write_records
from ..pictures import write_people

PEOPLE = {f"Person_{number:02d}": 3 for number in range(40)}
SPLIT = Validation(identities=0.5, pairs=3)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("source") / "faces", PEOPLE)


def opened(root: Path, cache: Path, **options: object) -> Data:
    return packed(cache, root=str(root), validation=SPLIT, **options)  # type: ignore[arg-type]


def refusal(call: object, *arguments: object, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    return str(caught.value)


def test_packing_changes_no_pixel_no_person_and_no_checksum(source: Path, tmp_path: Path) -> None:
    pack_images(source, tmp_path / "pack", "pixels", 20)
    here = opened(tmp_path / "pack", tmp_path)
    there = folder(tmp_path, root=str(source), size_px=20, validation=SPLIT)
    assert here.checksum == there.checksum
    assert here.train.identities == there.train.identities
    assert np.array_equal(here.train.images[:], there.train.images[:])
    assert (here.name, here.size_px) == ("packed", 20)


@pytest.mark.parametrize("form", ["pixels", "parquet"])
def test_a_pack_knows_how_its_faces_were_aligned(form: Form, tmp_path: Path) -> None:
    aligned = write_people(tmp_path / "faces", PEOPLE)
    settings = AlignSettings(method="box", size_px=20, margin_px=8)
    write_json(aligned / ALIGNMENT, settings.model_dump())
    pack_images(aligned, tmp_path / "pack", form, 20)
    assert opened(tmp_path / "pack", tmp_path, size_px=20).alignment == settings.alignment


def test_a_pack_from_before_alignments_were_noted_opens(source: Path, tmp_path: Path) -> None:
    pack_images(source, tmp_path / "pack", "pixels", 20)
    manifest = json.loads((tmp_path / "pack" / MANIFEST).read_text())
    manifest = {name: value for name, value in manifest.items() if name != "alignment"}
    (tmp_path / "pack" / MANIFEST).write_text(json.dumps(manifest))
    assert opened(tmp_path / "pack", tmp_path).alignment is None


@pytest.mark.parametrize("size_px", [16, 20])
def test_parquet_gives_the_same_images_in_any_order_at_any_size(
    source: Path, tmp_path: Path, size_px: int
) -> None:
    pack_images(source, tmp_path / "pack", "parquet", 0)
    here = opened(tmp_path / "pack", tmp_path, size_px=size_px).train
    there = folder(tmp_path, root=str(source), size_px=size_px, validation=SPLIT).train
    rows = np.random.default_rng(0).permutation(len(there))
    assert np.array_equal(here.images[rows], there.images[rows])
    assert np.array_equal(here.images[3:9], there.images[3:9])
    assert here.images.shape == there.images.shape == (60, 3, size_px, size_px)


def test_other_tools_read_the_parquet(source: Path, tmp_path: Path) -> None:
    import pandas

    pack_images(source, tmp_path / "pack", "parquet", 0)
    table = pandas.read_parquet(tmp_path / "pack" / "part-00000.parquet")
    assert list(table.columns) == ["identity", "label", "name", "image"]
    assert len(table) == 120
    for row in table.itertuples():
        assert row.image == (source / str(row.name)).read_bytes()
        assert row.identity == f"Person_{row.label:02d}" == str(row.name).partition("/")[0]


def test_parquet_of_many_groups_and_parts_finds_every_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.data.encoded.GROUPS_IN_PART", 2)
    source = write_people(tmp_path / "faces", {"A": 700, "B": 700})
    manifest = pack_images(source, tmp_path / "pack", "parquet", 0, workers=1)
    assert len(manifest.blocks) == 3
    pack = open_packed(tmp_path / "pack", "data.root", size_px=24)
    names = pack.names()
    for row in (0, 255, 256, 511, 512, 1023, 1024, 1399):
        expected = decode_image((source / names[row]).read_bytes(), 24)
        assert np.array_equal(pack.images[np.array([row])][0], expected)


def test_insightface_records_are_packed_like_a_folder(source: Path, tmp_path: Path) -> None:
    images = [
        (int(person[-2:]), file.read_bytes())
        for person in PEOPLE
        for file in sorted((source / person).iterdir())
    ]
    records = write_records(tmp_path / "faces_test", images)
    pack_images(source, tmp_path / "a", "pixels", 16)
    pack_images(records, tmp_path / "b", "pixels", 16)
    assert opened(tmp_path / "a", tmp_path).checksum == opened(tmp_path / "b", tmp_path).checksum
    direct = folder(tmp_path, root=str(records), size_px=16, validation=SPLIT)
    assert direct.checksum == opened(tmp_path / "a", tmp_path).checksum


def flip_a_byte(file: Path) -> None:
    """In the middle, between the spots that opening looks at."""
    with file.open("r+b") as stream:
        size = file.stat().st_size
        stream.seek((size - SPOT_BYTES) * 31 // (SPOT_BLOCKS - 1) + SPOT_BYTES + 10)
        byte = stream.read(1)[0]
        stream.seek(-1, 1)
        stream.write(bytes([byte ^ 1]))


def test_a_flipped_byte_is_found_and_its_part_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.data.encoded.GROUPS_IN_PART", 3)
    source = write_people(tmp_path / "faces", {"A": 700, "B": 700})
    for form, file, named in (
        ("pixels", "images.npy", "images.npy: images 0 to 1,023 (A to B) do not match their checksum"),
        ("parquet", "part-00001.parquet", "part-00001.parquet does not match its checksum"),
    ):
        pack = tmp_path / f"{form} {file}"
        pack_images(source, pack, form, 40, workers=1)  # type: ignore[arg-type]
        verify_pack(pack)
        flip_a_byte(pack / file)
        with pytest.raises(BenchError) as caught:
            verify_pack(pack)
        assert str(caught.value) == f"{pack}: {named}"


def test_an_image_that_can_no_longer_be_decoded_names_its_part(source: Path, tmp_path: Path) -> None:
    pack_images(source, tmp_path / "pack", "parquet", 0)
    pack = open_packed(tmp_path / "pack", "data.root", size_px=16)
    file = tmp_path / "pack" / "part-00000.parquet"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(BenchError) as caught:
        pack.images[np.array([5])]
    assert str(caught.value) == (
        f"{file}: image 5 is no image; it begins with {bytes(8)!r}; it could be read when it was packed: "
        f"check with 'bench data verify {tmp_path}/pack'"
    )


def test_a_truncated_pack_is_refused_on_opening(source: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack_images(source, pack, "pixels", 16)
    size = (pack / "images.npy").stat().st_size
    os.truncate(pack / "images.npy", size - 1)
    assert refusal(opened, pack, tmp_path) == (
        f"data.root: {pack}: images.npy has {size - 1} bytes instead of {size}; copy it again, "
        "or pack it anew"
    )
    (pack / MANIFEST).write_text(json.dumps({"files": {}}))
    assert refusal(opened, pack, tmp_path) == (
        f"data.root: {pack}: meta.json is of another version; pack it anew"
    )


def test_sizes_that_a_pack_cannot_give_are_refused(source: Path, tmp_path: Path) -> None:
    pack_images(source, tmp_path / "pixels", "pixels", 16)
    pack_images(source, tmp_path / "parquet", "parquet", 0)
    assert refusal(opened, tmp_path / "pixels", tmp_path, size_px=32) == (
        f"data.size_px: {tmp_path}/pixels holds images of 16 px, not 32; pack them anew, or as parquet, "
        "which can be read at any size"
    )
    assert refusal(opened, tmp_path / "parquet", tmp_path) == (
        f"data.size_px: {tmp_path}/parquet holds encoded images, of no size; set data.size_px=N"
    )
    assert refusal(folder, tmp_path, root=str(tmp_path / "pixels")) == (
        f"data.root: {tmp_path}/pixels is a pack; set data.name=packed"
    )
    assert refusal(opened, source, tmp_path) == (
        f"data.root: {source}: meta.json is missing; 'bench data pack' makes such folders"
    )


@pytest.mark.parametrize("form", ["pixels", "parquet"])
def test_what_cannot_be_read_is_listed_and_never_dropped_in_silence(tmp_path: Path, form: str) -> None:
    source = write_people(tmp_path / "faces", PEOPLE)
    (source / "Person_03" / "Person_03_0002.jpg").write_bytes(b"")
    manifest = pack_images(source, tmp_path / "pack", form, 16)  # type: ignore[arg-type]
    assert [(entry.name, entry.reason) for entry in manifest.unreadable] == [
        ("Person_03/Person_03_0002.jpg", "is empty")
    ]
    assert refusal(opened, tmp_path / "pack", tmp_path, size_px=16) == (
        "data.root: 1 of 120 images cannot be read: Person_03/Person_03_0002.jpg is empty; repair or remove "
        f"them, or set data.unreadable=skip (all are listed in {tmp_path}/pack/meta.json)"
    )
    data = opened(tmp_path / "pack", tmp_path, size_px=16, unreadable="skip")
    assert data.notes == ("1 of 120 images cannot be read and are left out",)


def test_a_set_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "faces" / "A").mkdir(parents=True)
    (tmp_path / "faces" / "A" / "a.jpg").write_bytes(b"")
    for form in ("pixels", "parquet"):
        text = refusal(pack_images, tmp_path / "faces", tmp_path / "pack", form, 16)
        assert text == f"{tmp_path}/faces: none of its 1 images can be read; the first: A/a.jpg is empty"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces"]


@pytest.mark.parametrize("form", ["pixels", "parquet"])
def test_a_disk_that_fills_up_half_way_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("bench.data.pack.np.save", full)
    text = refusal(pack_images, source, tmp_path / "pack", form, 16)
    assert text.startswith(f"{tmp_path}/pack: needs ")
    assert text.endswith(" MiB free; free some space")
    assert list(tmp_path.iterdir()) == []


def test_a_pack_is_a_test_as_well(source: Path, tmp_path: Path) -> None:
    pack_images(source, tmp_path / "pack", "pixels", 16)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "fold,same,left,right,note\n"
        "0,1,Person_00/Person_00_0001.jpg,Person_00/Person_00_0002,x\n"
        "1,false,Person_00/Person_00_0001,Person_01/Person_01_0003.jpg,y\n"
    )
    options = ProtocolOptions(str(tmp_path / "pack"), pairs=str(pairs))
    (protocol,) = opened(tmp_path / "pack", tmp_path, protocol=options).tests
    names = protocol.faces.names
    assert [names[row] for row in protocol.left] == 2 * ["Person_00/Person_00_0001.jpg"]
    assert [names[row] for row in protocol.right] == [
        "Person_00/Person_00_0002.jpg",
        "Person_01/Person_01_0003.jpg",
    ]
    assert (protocol.same.tolist(), protocol.fold.tolist()) == ([True, False], [0, 1])


@pytest.mark.usefixtures("workspace")
def test_the_commands_say_what_they_made(source: Path, bench_command: Bench) -> None:
    made = bench_command("data", "pack", str(source), "pack", "--size", "16")
    assert made.code == 0
    begin = "pack: 120 images of 40 people at 16 px, checksum "
    assert made.out.startswith(begin)
    checked = bench_command("data", "verify", "pack")
    assert checked.out == made.out.replace("pack: ", "pack: whole; ", 1)
    again = bench_command("data", "pack", str(source), "pack")
    assert (again.code, again.err) == (
        2,
        "pack: exists already; name another folder, or remove this one first\n",
    )
    nothing = bench_command("data", "pack", "nowhere", "other")
    assert (nothing.code, nothing.err) == (2, "nowhere: does not exist\n")
    assert not Path("other").exists()


@pytest.mark.usefixtures("workspace")
def test_a_run_trains_from_a_pack_and_records_what_was_skipped(source: Path, bench_command: Bench) -> None:
    bench_command("data", "pack", str(source), "pack", "--format", "pixels", "--size", "32")
    alignment = {"method": "box", "size_px": 32, "margin_px": 8}
    manifest = json.loads(Path("pack", MANIFEST).read_text())
    Path("pack", MANIFEST).write_text(json.dumps(manifest | {"alignment": alignment}))
    lines = ["2\t1"]
    for one, other in ((0, 1), (2, 3)):
        lines += [f"Person_{one:02d}\t1\t2", f"Person_{one:02d}\t1\tPerson_{other:02d}\t3"]
    Path("pairs.txt").write_text("\n".join(lines).replace("\t3", "\t9", 1) + "\n")
    Path("real.yaml").write_text(
        "extends: tiny.yaml\n"
        "data:\n"
        "  name: packed\n"
        "  root: pack\n"
        "  validation: {identities: 0.5, pairs: 3}\n"
        "  protocol: {root: pack, pairs: pairs.txt, missing: skip}\n"
        "tracking: {enabled: false}\n"
    )
    ended = bench_command("run", "real.yaml")
    assert ended.code == 0, ended.err
    assert "lfw: 2 folds, 3 pairs (1 skipped: images are missing), sqeuclidean" in ended.out
    (record,) = Path("runs").glob("*/record.json")
    values = json.loads(record.read_text())
    assert values["protocols"]["lfw"]["num_skipped"] == 1
    assert values["data_name"] == "packed"
    assert (values["alignment"], values["test_alignment"]) == (alignment, {"lfw": alignment})

    # nothing but the pack says how large its images are, and a model is of use without it
    run = str(record.parent)
    judged = bench_command("eval", "--run", run, "--intervals", "wilson", "--out", "judged")
    assert judged.code == 0, judged.err
    again = json.loads(Path("judged/evaluation.json").read_text())
    assert (again["num_skipped"], again["accuracy"]) == (1, values["protocols"]["lfw"]["metrics"]["accuracy"])
    photos = [str(path) for path in sorted(source.glob("Person_00/*"))[:2]]
    verified = bench_command("verify", run, *photos, "--far", "1e-1", "--no-align")
    assert verified.code == 0, verified.err
    exported = bench_command("export", run, "--out", "model.pt2")
    assert exported.code == 0, exported.err


@pytest.mark.usefixtures("workspace")
def test_a_run_without_test_pairs_says_so_and_leaves_thresholds(source: Path, bench_command: Bench) -> None:
    bench_command("data", "pack", str(source), "pack", "--size", "32")
    Path("real.yaml").write_text(
        "extends: tiny.yaml\n"
        "data:\n"
        "  name: packed\n"
        "  root: pack\n"
        "  validation: {identities: 0.5, pairs: 3}\n"
        "tracking: {enabled: false}\n"
    )
    ended = bench_command("run", "real.yaml")
    assert ended.code == 0, ended.err
    (path,) = Path("runs").glob("*/thresholds.json")
    found = json.loads(path.read_text())["data"]["packed/validation"]["1e-1"]
    assert (found["num_impostor"], found["false_accepts"]) == (30, 3)
    accuracy = json.loads((path.parent / "record.json").read_text())["validation"]["validation/accuracy"]
    note = f"real s0: no test pairs (data.protocol); validation accuracy {100 * accuracy:.2f} %\n"
    assert note in ended.out
