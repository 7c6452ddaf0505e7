"""The official form of pairs.txt, and what is said of files that are not of it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bench.data.faces import FaceSet, PairProtocol
from bench.data.pairs import NamedPair, image_name, load_protocol, read_pairs, write_pairs
from bench.errors import UserError

PEOPLE = ("Abel_Pacheco", "Dean_Barker", "Zico")
GOOD = "2\t1\nAbel_Pacheco\t1\t2\nAbel_Pacheco\t1\tZico\t2\nZico\t1\t2\nDean_Barker\t2\tZico\t1\n"


def faces():
    names = tuple(image_name(person, number) for person in PEOPLE for number in (1, 2))
    labels = np.repeat(np.arange(3), 2)
    return FaceSet(np.zeros((6, 3, 2, 2), np.uint8), labels, PEOPLE, names)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "pairs.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_reads_the_official_form(file):
    assert read_pairs(file(GOOD)) == [
        NamedPair(("Abel_Pacheco", 1), ("Abel_Pacheco", 2), 0, 2),
        NamedPair(("Abel_Pacheco", 1), ("Zico", 2), 0, 3),
        NamedPair(("Zico", 1), ("Zico", 2), 1, 4),
        NamedPair(("Dean_Barker", 2), ("Zico", 1), 1, 5),
    ]


def test_a_header_of_one_number_is_one_fold(file):
    pairs = read_pairs(file("1\nZico\t1\t2\nZico\t1\tDean_Barker\t1\n"))
    assert [pair.fold for pair in pairs] == [0, 0] and [pair.same for pair in pairs] == [True, False]


def test_what_is_written_reads_back_byte_for_byte(file, tmp_path):
    protocol = load_protocol(file(GOOD), faces(), name="small")
    assert protocol.left.tolist() == [0, 0, 4, 3] and protocol.right.tolist() == [1, 5, 5, 4]
    assert protocol.same.tolist() == [True, False, True, False] and protocol.fold.tolist() == [0, 0, 1, 1]
    write_pairs(tmp_path / "again.txt", protocol)
    assert (tmp_path / "again.txt").read_text() == GOOD


def test_windows_line_ends_and_blank_ends_are_read(file):
    assert len(read_pairs(file(GOOD.replace("\n", "\r\n") + "\n\n"))) == 4


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "the header must be 'folds<TAB>pairs of each kind', such as '10\\t300'; got an empty file"),
        (
            "ten\t300\n",
            1,
            "the header must be 'folds<TAB>pairs of each kind', such as '10\\t300'; got 'ten\\t300'",
        ),
        (
            GOOD.replace("2\t1", "2\t2", 1),
            1,
            "the header promises 2 x (2 + 2) = 8 pairs, but 4 follow",
        ),
        (GOOD + "Zico\t1\t2\n", 1, "the header promises 2 x (1 + 1) = 4 pairs, but 5 follow"),
        (
            GOOD.replace("Zico\t1\t2", "Zico\t1"),
            4,
            "a genuine pair (name, number, number) must stand here, but there are 2 columns: 'Zico\\t1'",
        ),
        (
            GOOD.replace("Zico\t1\t2", "\t1\t2"),
            4,
            "a genuine pair (name, number, number) must stand here, but there are 3 columns: '\\t1\\t2'",
        ),
        (
            GOOD.replace("Abel_Pacheco\t1\tZico\t2", "Zico\t1\t2"),
            3,
            "an impostor pair (name, number, name, number) must stand here, "
            "but there are 3 columns: 'Zico\\t1\\t2'",
        ),
        (GOOD.replace("Zico\t1\t2", "Zico\tone\t2"), 4, "an image number counts from 1, but got 'one'"),
        (GOOD.replace("Zico\t1\t2", "Zico\t0\t2"), 4, "an image number counts from 1, but got '0'"),
        (GOOD.replace("Zico\t1\t2", "Zico\t2\t2"), 4, "a genuine pair needs two images, but both are Zico 2"),
        (
            GOOD.replace("Dean_Barker\t2\tZico", "Zico\t2\tZico"),
            5,
            "an impostor pair needs two people, but both are Zico",
        ),
        (b"2\t1\n\xff\xfe\t1\t2\n", 1, "is not UTF-8 text; it should be of the form of LFW's pairs.txt"),
    ],
)
def test_bad_files_are_one_line_with_file_and_line(file, text, line, problem):
    path = file(text)
    with pytest.raises(UserError) as caught:
        read_pairs(path)
    assert str(caught.value) == f"{path}:{line}: {problem}"
    assert caught.value.exit_code == 2


def test_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}/pairs.txt: does not exist; ")):
        read_pairs(tmp_path / "pairs.txt")


def test_an_unknown_person_is_named_with_the_nearest(file):
    path = file(GOOD.replace("Dean_Barker\t2", "Dean_Baker\t2"))
    with pytest.raises(UserError) as caught:
        load_protocol(path, faces(), name="small")
    assert str(caught.value) == f"{path}:5: there is no image 2 of 'Dean_Baker'; did you mean 'Dean_Barker'?"


def test_an_unknown_image_of_a_known_person_is_named(file):
    path = file(GOOD.replace("Zico\t1\t2", "Zico\t1\t3"))
    with pytest.raises(UserError, match=r"pairs\.txt:4: there is no image 3 of 'Zico'$"):
        load_protocol(path, faces(), name="small")


def test_protocols_that_the_form_cannot_hold_are_refused(tmp_path):
    one = np.array([0]), np.array([1]), np.array([True]), np.array([0])
    with pytest.raises(ValueError, match=r"needs equal folds"):
        write_pairs(tmp_path / "pairs.txt", PairProtocol("odd", faces(), *one))
    nameless = FaceSet(faces().images, faces().labels, PEOPLE)
    with pytest.raises(ValueError, match="every image needs a name"):
        write_pairs(tmp_path / "pairs.txt", PairProtocol("odd", nameless, *one))
