"""The data set `rendered`: its splits, its protocol, its cache."""

from __future__ import annotations

import inspect
import logging
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from bench.data.pairs import load_protocol
from bench.data.rendered import dataset, rendered
from bench.data.rendered.dataset import CALIBRATED
from bench.data.rendered.protocol import NUM_FOLDS, num_people
from bench.data.rendered.render import render
from bench.data.rendered.streams import Split
from bench.errors import UserError
from losses.registry import Registry

SMALL = {"identities": 5, "images_per_identity": 3, "size_px": 24, "test_pairs": 30, "validation_pairs": 6}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(cache):
    return rendered(cache, **SMALL)


def test_registry_reads_every_option_of_the_signature():
    registry = Registry("data set")
    registry.register(rendered)
    assert list(registry.options("rendered")) == [
        "seed",
        "identities",
        "images_per_identity",
        "size_px",
        "difficulty",
        "test_pairs",
        "validation_pairs",
    ]
    assert next(iter(inspect.signature(rendered).parameters)) == "cache"


def test_splits_have_the_asked_sizes_and_labels(data):
    assert data.name == "rendered" and data.size_px == 24
    assert data.train.images.shape == (15, 3, 24, 24) and data.train.images.dtype == np.uint8
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert data.train.labels.dtype == np.int64 and not data.train.images.flags.writeable
    assert data.validation.name == "validation" and [test.name for test in data.tests] == ["rendered"]
    for faces in (data.train, data.validation.faces, data.tests[0].faces):
        assert len(faces.images) == len(faces.labels) == len(faces.names)
        assert faces.labels.max() + 1 == faces.num_identities


def test_images_are_those_of_their_split_and_person(data):
    faces = data.tests[0].faces
    position = faces.names.index("Rendered_00007/Rendered_00007_0003")
    expected = render(0, Split.TEST, np.array([7]), np.array([2]), size_px=24, difficulty=CALIBRATED)
    np.testing.assert_array_equal(faces.images[position], expected[0])
    expected = render(0, Split.TRAIN, [1], [1], size_px=24, difficulty=CALIBRATED)
    np.testing.assert_array_equal(data.train.images[4], expected[0])


def test_train_validation_and_test_share_no_person_and_no_picture(data):
    sets = [data.train, data.validation.faces, data.tests[0].faces]
    names = [name for faces in sets for name in faces.identities]
    assert len(set(names)) == len(names)
    pictures = [image.tobytes() for faces in sets for image in faces.images]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize(("which", "pairs"), [("validation", 6), ("rendered", 30)])
def test_protocol_is_shaped_like_lfw(data, which, pairs):
    protocol = data.validation if which == "validation" else data.tests[0]
    assert len(protocol) == NUM_FOLDS * 2 * pairs
    counts = Counter(zip(protocol.fold.tolist(), protocol.same.tolist(), strict=True))
    assert counts == {(fold, same): pairs for fold in range(10) for same in (True, False)}
    labels = protocol.faces.labels
    np.testing.assert_array_equal(labels[protocol.left] == labels[protocol.right], protocol.same)
    assert (protocol.left != protocol.right).all()
    both = np.sort(np.stack([protocol.left, protocol.right], axis=1), axis=1)
    assert len(np.unique(both, axis=0)) == len(protocol)
    people = [set(labels[protocol.left[protocol.fold == fold]]) for fold in range(10)]
    people = [own | set(labels[protocol.right[protocol.fold == k]]) for k, own in enumerate(people)]
    assert sum(map(len, people)) == len(set.union(*people))


def test_full_protocol_asks_300_and_300_pairs_of_400_people():
    options = inspect.signature(rendered).parameters
    assert options["test_pairs"].default == 300 and num_people(300) == 400
    assert 100 <= num_people(options["validation_pairs"].default) <= 150


def test_pairs_file_is_official_and_reads_back(data, cache):
    (folder,) = (path for path in (cache / "rendered").iterdir() if path.is_dir())
    lines = (folder / "pairs.txt").read_text().splitlines()
    assert lines[0] == "10\t30" and len(lines) == 1 + 600
    name, one, other = lines[1].split("\t")
    assert name.startswith("Rendered_000") and 1 <= int(one) < int(other) <= 8
    assert len(lines[31].split("\t")) == 4 and len(lines[61].split("\t")) == 3
    again = load_protocol(folder / "pairs.txt", data.tests[0].faces, name="rendered")
    for field in ("left", "right", "same", "fold"):
        np.testing.assert_array_equal(getattr(again, field), getattr(data.tests[0], field))


def test_pairs_and_pictures_of_the_test_do_not_depend_on_the_training_set(data, cache):
    other = rendered(cache, **SMALL | {"identities": 3})
    np.testing.assert_array_equal(other.tests[0].left, data.tests[0].left)
    np.testing.assert_array_equal(other.tests[0].faces.images, data.tests[0].faces.images)
    np.testing.assert_array_equal(other.train.images, data.train.images[:9])
    assert other.checksum != data.checksum


def verification_accuracy(features, protocol):
    """At the threshold that is best on the very pairs: an upper bound."""
    distance = np.sum((features[protocol.left] - features[protocol.right]) ** 2, axis=1)
    order = np.argsort(distance)
    genuine = np.cumsum(protocol.same[order])
    impostor = np.cumsum(~protocol.same[order])
    return (genuine + (~protocol.same).sum() - impostor).max() / len(protocol)


@pytest.mark.parametrize(("difficulty", "of_pixels"), [(1.0, 0.75), (CALIBRATED, 0.82)])
def test_neither_mean_colour_nor_pixels_tell_people_apart(cache, difficulty, of_pixels):
    """A network reaches 98.5 % at the calibrated difficulty."""
    protocol = rendered(cache, **SMALL, difficulty=difficulty).tests[0]
    images = protocol.faces.images.astype(np.float64)
    assert verification_accuracy(images.mean(axis=(2, 3)), protocol) < 0.65
    pixels = images.reshape(len(images), -1)
    assert verification_accuracy(pixels, protocol) < of_pixels
    pixels = pixels - pixels.mean(axis=1, keepdims=True)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
    assert verification_accuracy(pixels, protocol) < of_pixels


def test_second_call_opens_the_cache_and_draws_nothing(data, cache, monkeypatch, caplog):
    monkeypatch.setattr(dataset, "render", None)
    with caplog.at_level(logging.INFO, "bench.data"):
        again = rendered(cache, **SMALL)
    assert again.checksum == data.checksum and caplog.messages == []
    assert isinstance(again.train.images.base, np.memmap)


def test_every_parameter_and_the_version_make_another_folder(monkeypatch):
    usual = dataset.Plan(0, 5, 3, 24, 1.0, 30, 6)
    keys = {usual.key}
    for change in ({"seed": 1}, {"size_px": 25}, {"difficulty": 1.1}, {"test_pairs": 31}, {"identities": 6}):
        keys.add(dataset.Plan(**(vars(usual) | change)).key)
    monkeypatch.setattr(dataset, "RENDERER_VERSION", dataset.RENDERER_VERSION + 1)
    keys.add(usual.key)
    assert len(keys) == 7


def test_checksum_is_that_of_all_images_labels_and_pairs(data, cache, tmp_path):
    same = rendered(tmp_path, **SMALL)
    assert same.checksum == data.checksum
    assert len(data.checksum) == 64


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 20 * 2**20})
    monkeypatch.setattr("bench.data.cache.shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError) as caught:
        rendered(tmp_path)
    assert str(caught.value).startswith(f"data.cache: {tmp_path}/rendered/64px-")
    assert str(caught.value).endswith(": needs 169 MiB, 20 MiB free; free some space or set BENCH_CACHE=...")
    assert not [path for path in (tmp_path / "rendered").iterdir() if path.suffix != ".lock"]


def test_of_two_processes_one_draws_and_the_other_waits(tmp_path):
    script = (
        "import logging, sys\n"
        "from pathlib import Path\n"
        "from bench.data.rendered import rendered\n"
        "logging.basicConfig(level=logging.INFO, format='%(message)s')\n"
        f"print(rendered(Path({str(tmp_path)!r}), **{SMALL!r}).checksum)\n"
    )
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=280) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert sum(error.count("rendering 655 faces") for _, error in outputs) == 1
