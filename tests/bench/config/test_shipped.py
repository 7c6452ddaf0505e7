"""Configurations by name: what ships, and what an existing file hides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.config import shipped, shipped_configs
from bench.config.layers import read_layers
from bench.config.shipped import find_config, shipped_folder
from bench.config.yaml_file import child
from bench.errors import UserError


def test_every_shipped_config_has_a_description_and_every_fragment_is_hidden() -> None:
    shipped = shipped_configs()

    assert {"softmax", "center", "triplet", "smoke"} <= shipped.keys()
    assert all(shipped.values())
    assert not any(name.startswith("base/") for name in shipped)


@pytest.mark.parametrize("source", ["center", "center.yaml"])
def test_a_name_means_the_shipped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)

    assert find_config(source) == shipped_folder() / "center.yaml"


def test_a_name_in_a_folder_means_the_shipped_file_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert find_config("base/rendered") == shipped_folder() / "base" / "rendered.yaml"


def test_an_existing_file_wins_and_a_folder_of_that_name_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "center").mkdir()
    (tmp_path / "triplet.yaml").write_text("seed: 1\n")

    assert find_config("center") == shipped_folder() / "center.yaml"
    assert find_config("triplet").resolve() == tmp_path / "triplet.yaml"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "centre",
            "centre: no such file, and no shipped configuration of that name; did you mean 'center'?",
        ),
        (
            "configs/zzzzzz.yaml",
            "configs/zzzzzz.yaml: no such file, and no shipped configuration of that name; "
            "'bench list configs' shows the shipped ones, and a setting is written path=value, such as "
            "loss.margin=0.3",
        ),
        (
            "nothere.yaml",
            "nothere.yaml: no such file, and no shipped configuration of that name; "
            "'bench list configs' shows the shipped ones, and a setting is written path=value, such as "
            "loss.margin=0.3",
        ),
    ],
)
def test_an_unknown_name_gets_the_nearest_shipped_one(source: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        find_config(source)

    assert str(caught.value) == message


@pytest.mark.parametrize("source", ["", ".", "a\0b", "x" * 5000, "/"])
def test_names_that_no_file_can_have_are_not_found(source: str) -> None:
    with pytest.raises(UserError, match="no such file"):
        find_config(source)


def test_an_installed_package_finds_the_configs_inside_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench" / "_configs" / "facenet").mkdir(parents=True)
    (tmp_path / "bench" / "_configs" / "facenet" / "center.yaml").write_text("description: full size\n")
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "bench")

    assert shipped_configs() == {"facenet/center": "full size"}
    assert find_config("facenet/center") == tmp_path / "bench" / "_configs" / "facenet" / "center.yaml"


def test_a_damaged_shipped_file_is_listed_with_its_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "bad.yaml").write_text("a: 1\na: 2\n")
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "bench")

    assert shipped_configs()["bad"].endswith("bad.yaml:2: duplicate key 'a' (first on line 1)")


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_every_shipped_config_names_a_loss(name: str) -> None:
    loss = child(read_layers(find_config(name)), "loss")

    assert loss is not None
    assert child(loss, "name") is not None


def test_listing_what_ships_does_not_import_torch() -> None:
    code = "import sys, bench.config as c; c.shipped_configs(); print('torch' in sys.modules)"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout == "False\n"
