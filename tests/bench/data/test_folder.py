"""`data: {name: folder}`: what is trained, validated and tested on, and what is said when it cannot be."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.data import Data
from bench.data.align import ALIGNMENT, AlignSettings
from bench.data.audit import audit, audit_path, write_audit
from bench.data.folder import folder
from bench.data.protocols import ProtocolOptions
from bench.data.split import Validation
from bench.errors import UserError
from bench.images import decode_image
from bench.results import write_json

from ..pictures import as_tar, encoded, picture, write_people

PEOPLE = {f"Person_{number:02d}": 3 + number % 4 for number in range(40)} | {"Only_Once": 1}
TESTED = {"Abel": 3, "Bela": 2, "Zico": 2}
PAIRS = "2\t1\nAbel\t1\t3\nAbel\t2\tZico\t1\nZico\t1\t2\nBela\t2\tZico\t2\n"
SMALL = Validation(identities=0.5, pairs=3)
LARGE = Validation(identities=0.7, pairs=3)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/, train.tar, test/, pairs.txt."""
    place = tmp_path_factory.mktemp("sources")
    write_people(place / "train", PEOPLE)
    write_people(place / "test", TESTED)
    as_tar(place / "train", place / "train.tar", prefix="./faces/")
    (place / "pairs.txt").write_text(PAIRS)
    return place


@pytest.fixture
def mine(sources: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(sources, tmp_path / "mine")


def opened(place: Path, cache: Path, root: str = "train", **options: object) -> Data:
    given: dict[str, object] = {
        "size_px": 16,
        "validation": SMALL,
        "protocol": ProtocolOptions(str(place / "test"), name="small"),
    }
    return folder(cache, root=str(place / root), **(given | options))  # type: ignore[arg-type]


def message(place: Path, cache: Path, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        opened(place, cache, **options)
    return str(caught.value)


def test_every_image_is_the_file_of_its_person(sources: Path, tmp_path: Path) -> None:
    train = opened(sources, tmp_path).train
    assert len(train) == len(train.images) == len(train.labels)
    images = train.images[np.arange(len(train))]
    for label, person in enumerate(train.identities):
        own = np.flatnonzero(train.labels == label)
        files = sorted((sources / "train" / person).iterdir())
        expected = [decode_image(file.read_bytes(), 16) for file in files]
        assert np.array_equal(images[own], expected)


def test_people_train_or_validate_never_both_and_singles_do_neither(sources: Path, tmp_path: Path) -> None:
    data = opened(sources, tmp_path)
    validation = set(data.validation.faces.identities)
    assert len(data.train.identities) == 20
    assert validation | set(data.train.identities) <= set(PEOPLE) - {"Only_Once"}
    assert not validation & set(data.train.identities)


def test_validation_is_ten_folds_of_as_many_genuine_as_impostor_pairs(sources: Path, tmp_path: Path) -> None:
    protocol = opened(sources, tmp_path).validation
    person = protocol.faces.labels
    assert np.array_equal(person[protocol.left] == person[protocol.right], protocol.same)
    assert np.array_equal(np.bincount(protocol.fold), np.full(10, 6))
    assert np.array_equal(np.bincount(protocol.fold[protocol.same]), np.full(10, 3))
    pairs = np.sort(np.stack([protocol.left, protocol.right], 1), axis=1)
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    folds_of = [
        set(protocol.fold[(person[protocol.left] == one) | (person[protocol.right] == one)])
        for one in range(protocol.faces.num_identities)
    ]
    assert all(len(folds) == 1 for folds in folds_of)
    assert len(np.unique(np.concatenate([protocol.left, protocol.right]))) == len(protocol.faces)


def test_another_data_seed_holds_other_people_out(sources: Path, tmp_path: Path) -> None:
    first, again, other = (opened(sources, tmp_path, seed=seed) for seed in (0, 0, 1))
    assert first.train.identities == again.train.identities != other.train.identities
    assert first.checksum == again.checksum != other.checksum


def test_a_tar_elsewhere_is_the_same_data(sources: Path, tmp_path: Path) -> None:
    one = opened(sources, tmp_path / "a")
    other = opened(sources, tmp_path / "b", "train.tar")
    assert one.checksum == other.checksum
    assert np.array_equal(one.train.images[:], other.train.images[:])


def test_what_the_run_depends_on_changes_the_checksum(mine: Path, tmp_path: Path) -> None:
    checksums = {opened(mine, tmp_path).checksum}
    (mine / "pairs.txt").write_text(PAIRS.replace("Abel\t1\t3", "Abel\t1\t2"))
    checksums.add(opened(mine, tmp_path).checksum)
    (mine / "test" / "Abel" / "Abel_0001.jpg").write_bytes(encoded(picture("other")))
    checksums.add(opened(mine, tmp_path).checksum)
    (mine / "train" / "Person_07" / "Person_07_0001.jpg").write_bytes(encoded(picture("other")))
    checksums.add(opened(mine, tmp_path).checksum)
    checksums.add(opened(mine, tmp_path, size_px=17).checksum)
    for fewest in (1, 4):
        checksums.add(opened(mine, tmp_path, min_images_per_identity=fewest, validation=LARGE).checksum)
    assert len(checksums) == 7


def test_the_second_opening_decodes_nothing(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(sources, tmp_path)
    monkeypatch.setattr("bench.data.pack.decode_all", None)
    assert opened(sources, tmp_path).checksum == first.checksum
    # other people and other pairs come from the same pack
    assert opened(sources, tmp_path, seed=5, min_images_per_identity=3).checksum != first.checksum


def test_the_test_has_its_pairs_in_their_folds(sources: Path, tmp_path: Path) -> None:
    (protocol,) = opened(sources, tmp_path).tests
    names = protocol.faces.names
    asked = [(names[one], names[other]) for one, other in zip(protocol.left, protocol.right, strict=True)]
    assert asked == [
        ("Abel/Abel_0001.jpg", "Abel/Abel_0003.jpg"),
        ("Abel/Abel_0002.jpg", "Zico/Zico_0001.jpg"),
        ("Zico/Zico_0001.jpg", "Zico/Zico_0002.jpg"),
        ("Bela/Bela_0002.jpg", "Zico/Zico_0002.jpg"),
    ]
    assert protocol.same.tolist() == [True, False, True, False]
    assert protocol.fold.tolist() == [0, 0, 1, 1]
    assert (protocol.name, protocol.num_skipped) == ("small", 0)
    expected = [decode_image((sources / "test" / name).read_bytes(), 16) for name in names]
    assert np.array_equal(protocol.faces.images[:], expected)
    assert len(names) == 6  # Bela_0001 is asked by nobody


def test_a_missing_image_is_named_with_file_and_line(mine: Path, tmp_path: Path) -> None:
    (mine / "test" / "Zico" / "Zico_0002.jpg").unlink()
    assert message(mine, tmp_path) == (
        f"{mine}/pairs.txt:4: image Zico/Zico_0002 is not in {mine}/test; "
        "to leave such pairs out, set data.protocol.missing=skip"
    )


def test_a_missing_person_is_named_with_the_nearest(mine: Path, tmp_path: Path) -> None:
    (mine / "pairs.txt").write_text(PAIRS.replace("Bela", "Bella"))
    assert message(mine, tmp_path) == (
        f"{mine}/pairs.txt:5: image Bella/Bella_0002 is not in {mine}/test; did you mean 'Bela'?; "
        "to leave such pairs out, set data.protocol.missing=skip"
    )


def test_skipping_keeps_the_other_pairs_in_their_official_folds_and_counts(
    mine: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (mine / "test" / "Abel" / "Abel_0003.jpg").unlink()
    (mine / "test" / "Bela" / "Bela_0002.jpg").write_bytes(b"")
    options = ProtocolOptions(str(mine / "test"), missing="skip")
    for _ in range(2):  # made, then opened
        (protocol,) = opened(mine, tmp_path, protocol=options).tests
        assert protocol.num_skipped == 2
        assert protocol.fold.tolist() == [0, 1]
        assert protocol.same.tolist() == [False, True]
    said = [text for text in caplog.messages if "skipped" in text]
    assert said == 2 * [
        "data.protocol: 2 of 4 pairs are skipped: 2 images are missing: Abel/Abel_0003, Bela/Bela_0002"
    ]


def test_an_unreadable_test_image_is_named_with_its_reason(mine: Path, tmp_path: Path) -> None:
    (mine / "test" / "Bela" / "Bela_0002.jpg").write_bytes(b"")
    for _ in range(2):
        assert message(mine, tmp_path) == (
            f"{mine}/pairs.txt:5: image Bela/Bela_0002 is empty; "
            "to leave such pairs out, set data.protocol.missing=skip"
        )


def test_a_fold_without_pairs_and_the_wrong_folder_are_refused(mine: Path, tmp_path: Path) -> None:
    shutil.rmtree(mine / "test" / "Zico")
    options = ProtocolOptions(str(mine / "test"), missing="skip")
    assert message(mine, tmp_path, protocol=options) == (
        f"data.protocol.root: {mine}/test: so many images are missing that fold 2 of {mine}/pairs.txt has "
        "no pair left"
    )
    options = ProtocolOptions(str(mine / "train"), missing="skip")
    assert message(mine, tmp_path, protocol=options) == (
        f"data.protocol.root: {mine}/train: has none of the 6 images that {mine}/pairs.txt names; "
        "is it the right folder?"
    )


def test_unreadable_training_images_are_an_error_that_names_them(mine: Path, tmp_path: Path) -> None:
    (mine / "train" / "Person_01" / "Person_01_0002.jpg").write_bytes(b"<html>")
    (mine / "train" / "Person_02" / "Person_02_0001.jpg").write_bytes(b"")
    text = message(mine, tmp_path)
    (pack,) = (path for path in (tmp_path / "packed").glob("train-16px-*") if path.is_dir())
    assert text == (
        "data.root: 2 of 181 images cannot be read: Person_01/Person_01_0002.jpg is no image; it begins with "
        "b'<html>'; Person_02/Person_02_0001.jpg is empty; repair or remove them, or set "
        f"data.unreadable=skip (all are listed in {pack}/meta.json)"
    )


def test_skipped_training_images_are_counted_in_the_notes(mine: Path, tmp_path: Path) -> None:
    whole = opened(mine, tmp_path)
    person = whole.train.identities[0]
    (mine / "train" / person / f"{person}_0001.jpg").write_bytes(b"")
    data = opened(mine, tmp_path, unreadable="skip")
    assert data.notes == ("1 of 181 images cannot be read and are left out",)
    assert len(data.train) == len(whole.train) - 1
    assert data.checksum != whole.checksum


def test_several_protocols_have_names_of_their_own(sources: Path, tmp_path: Path) -> None:
    more = ProtocolOptions(str(sources / "test"), name="other")
    data = opened(sources, tmp_path, more_protocols=(more,))
    assert [protocol.name for protocol in data.tests] == ["small", "other"]
    text = message(sources, tmp_path, more_protocols=(ProtocolOptions(str(sources / "test"), name="small"),))
    assert text == ("data.more_protocols.0.name: there is a protocol 'small' already; name it otherwise")
    with pytest.raises(ValueError, match="name must be letters, digits"):
        ProtocolOptions("x", name="validation")


def test_no_protocol_is_no_test(sources: Path, tmp_path: Path) -> None:
    assert opened(sources, tmp_path, protocol=None).tests == ()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"validation": Validation(0.3, 3)},
            "data.validation.identities: 0.3 of 40 people are 12, but 10 folds need two each, 20; raise it",
        ),
        (
            {"validation": Validation(0.9, 3), "min_images_per_identity": 1},
            "",
        ),
        (
            {"validation": Validation(0.5, 500)},
            "data.validation.pairs: 500 genuine pairs in each fold, but the 2 people of fold 1 give",
        ),
        (
            {"min_images_per_identity": 99},
            "data.validation.identities: 0.5 of 0 people are 0, but 10 folds need two each, 20; raise it",
        ),
    ],
)
def test_a_split_that_cannot_be_is_refused_in_words(
    sources: Path, tmp_path: Path, options: dict[str, object], expected: str
) -> None:
    if expected:
        assert message(sources, tmp_path, **options).startswith(expected)
    else:
        assert len(opened(sources, tmp_path, **options).train.identities) == 4


def test_too_few_people_are_noticed_before_anything_is_packed(sources: Path, tmp_path: Path) -> None:
    assert message(sources, tmp_path, validation=Validation(0.3, 3), protocol=None).endswith("raise it")
    assert not list(tmp_path.rglob("images.npy"))


def test_paths_know_the_environment_and_say_when_they_do_not(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"protocol": None, "validation": SMALL, "size_px": 16}
    monkeypatch.setenv("FACES", str(sources))
    assert folder(tmp_path, root="${FACES}/train", **options).train.num_identities == 20  # type: ignore[arg-type]
    monkeypatch.delenv("FACES")
    for root, expected in (
        (
            "${FACES}/train",
            "data.root: ${FACES}/train: the environment variable FACES is not set; export FACES=... or set "
            "data.root=PATH",
        ),
        (f"{sources}/nothing", f"data.root: {sources}/nothing does not exist; set data.root=PATH"),
        ("", "data.root: missing; set data.root=PATH"),
    ):
        with pytest.raises(UserError) as caught:
            folder(tmp_path, root=root, **options)  # type: ignore[arg-type]
        assert str(caught.value) == expected


def test_a_missing_pair_list_is_said(mine: Path, tmp_path: Path) -> None:
    (mine / "pairs.txt").unlink()
    assert message(mine, tmp_path) == (
        f"data.protocol.pairs: there is no pairs.txt in or beside {mine}/test; set data.protocol.pairs=FILE"
    )


def test_the_audit_beside_the_training_set_comes_with_it(mine: Path, tmp_path: Path) -> None:
    assert opened(mine, tmp_path).audit is None
    found = audit(mine / "train", mine / "test")
    write_audit(audit_path(mine / "train"), found.file)
    assert opened(mine, tmp_path).audit == found.file.verdict


def test_how_faces_were_aligned_comes_with_them_and_a_test_aligned_otherwise_is_noted(
    mine: Path, tmp_path: Path
) -> None:
    assert opened(mine, tmp_path).alignment is None
    trained = AlignSettings(method="five_point", size_px=16, margin_px=0)
    settings_file(mine / "train", trained)
    settings_file(mine / "test", trained)
    data = opened(mine, tmp_path)
    assert data.alignment == data.tests[0].alignment == trained.alignment
    assert data.notes == ()
    settings_file(mine / "test", AlignSettings(method="box", size_px=20, margin_px=4))
    assert opened(mine, tmp_path).notes == (
        "training faces are aligned by five points on ArcFace's template, 16 px, those of small by the "
        "detector's box with a margin of 4 px, 20 px",
    )


def settings_file(folder: Path, settings: AlignSettings) -> None:
    write_json(folder / ALIGNMENT, settings.model_dump())
