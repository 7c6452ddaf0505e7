"""A loaded configuration: frozen, hashed by what decides the outcome, and written so that it comes back."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pydantic
import pytest

from bench.config import RunConfig, explain, load_config, redact_uri
from losses.registry import Registry

Load = Callable[..., RunConfig]


def test_the_same_values_in_another_order_and_spelling_have_the_same_hash(load: Load, valid: str) -> None:
    lines = valid.splitlines()
    shuffled = "\n".join(reversed(lines)).replace("epochs: 2", "epochs: 2.0").replace("1e-2", "0.010")
    spelled = shuffled.replace("name: center, factor: 0.01", "factor: 1e-2, name: 'center', alfa: 0.95")

    assert spelled != shuffled
    assert load(text=spelled, file="other.yaml").hash == load().hash


@pytest.mark.parametrize(
    "override", ["seed=3", "name=x", "description=x", "runtime.device=cpu", "tracking.experiment=x"]
)
def test_what_does_not_decide_the_outcome_is_not_hashed(load: Load, override: str) -> None:
    assert load(override).hash == load().hash


@pytest.mark.parametrize(
    "override",
    ["loss.factor=0.02", "data.seed=1", "train.epochs=3", "evaluate.metric=cosine", "augment.flip=false"],
)
def test_what_decides_the_outcome_is_hashed(load: Load, override: str) -> None:
    assert load(override).hash != load().hash


def test_the_resolved_file_gives_the_same_configuration_back(load: Load) -> None:
    config = load(
        "loss.name=triplet",
        "schedule={name: step, rates: {0: 0.1, 150: 1e-7}}",
        "train.clip_norm=1e300",
        "data.root='010'",
        "seed=5",
        "name=kept",
    )

    again = load(text=config.to_yaml(), file="resolved.yaml")

    assert again == config
    assert again.hash == config.hash
    assert again.to_yaml() == config.to_yaml()


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "1e-3",
        "010",
        "null",
        "~",
        "",
        " x ",
        "a: b",
        "# no",
        "- a",
        "*a",
        "{}",
        "line\nbreak",
        "ß\u2028\x85",
        "'",
        "!x",
    ],
)
def test_any_text_survives_the_resolved_file(load: Load, text: str) -> None:
    config = dataclasses.replace(load(), description=text)

    assert load(text=config.to_yaml(), file="resolved.yaml").description == text


def test_the_resolved_file_reads_as_a_person_would_write_it(load: Load) -> None:
    text = load("schedule={name: step, rates: {0: 0.1, 150: 0.01}}").to_yaml()

    assert text.startswith("name: toy\ndescription: a toy\nseed: 0\nplugins: []\ndata:\n  name: faces\n")
    assert "schedule:\n  name: step\n  rates: {0: 0.1, 150: 0.01}\n" in text
    assert "  fars: [0.001]\n" in text
    assert "  clip_norm: null\n" in text


def test_flat_has_one_scalar_for_each_option(load: Load) -> None:
    flat = load("schedule={name: step, rates: {0: 0.1, 150: 0.01}}").flat()

    assert flat["loss.factor"] == 0.01
    assert flat["evaluate.fars"] == "[0.001]"
    assert flat["schedule.rates"] == "{0: 0.1, 150: 0.01}"
    assert all(value is None or isinstance(value, (bool, int, float, str)) for value in flat.values())


def test_nothing_in_a_configuration_can_be_changed(load: Load) -> None:
    config = load("schedule={name: step, rates: {0: 0.1}}")

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 3  # type: ignore[misc]
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.train.epochs = 3.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.loss.options["factor"] = 3  # type: ignore[index]
    config.schedule.options["rates"][0] = 9.0
    assert config.schedule.options["rates"] == {0: 0.1}


def test_options_can_be_splatted_into_the_factory(
    load: Load, components: Mapping[str, Registry[Any]]
) -> None:
    loss = load().loss

    components["loss"].build(loss.name, {"embedding_dim": 4, "num_classes": 3}, loss.options)


def test_a_configuration_travels_to_another_process(load: Load) -> None:
    config = load("schedule={name: step, rates: {0: 0.1}}")

    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config).hash == config.hash


def test_an_option_may_have_the_name_of_a_method(load: Load) -> None:
    assert load("loss={name: triplet, copy: 3}").loss.options["copy"] == 3


def test_secrets_reach_neither_file_nor_parameters_nor_explanation(load: Load) -> None:
    config = load("tracking.uri=http://ada:lace@host:5000")
    explained = {row.path: row.value for row in explain(config)}

    assert config.tracking.uri == "http://ada:lace@host:5000"
    assert "lace" not in config.to_yaml()
    assert config.flat()["tracking.uri"] == "http://***@host:5000"
    assert explained["tracking.uri"] == "http://***@host:5000"


@pytest.mark.parametrize(
    ("uri", "redacted"),
    [
        ("http://host:5000/path", "http://host:5000/path"),
        ("postgresql+psycopg://u:p@ss/w@db/x", "postgresql+psycopg://***@db/x"),
        (
            "postgresql://db/x?user=a&password=b&sslmode=on",
            "postgresql://db/x?user=a&password=***&sslmode=on",
        ),
        ("https://h/?api_key=k#top", "https://h/?api_key=***#top"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("ada@example.org", "ada@example.org"),
    ],
)
def test_addresses_lose_user_and_password(uri: str, redacted: str) -> None:
    assert redact_uri(uri) == redacted


def test_the_name_is_the_stem_unless_given(load: Load, valid: str) -> None:
    assert load(text=valid, file="my exp (2).yaml").name == "my-exp-2"
    assert load("name=other").name == "other"


def test_a_config_of_all_sections_names_every_key_of_the_agreed_order(load: Load) -> None:
    assert list(load().tree()) == [
        "name", "description", "seed", "plugins",
        "data", "backbone", "loss", "batch", "optimizer", "schedule",
        "init", "augment", "train", "evaluate", "runtime", "tracking",
    ]  # fmt: skip


def test_paths_in_a_resolved_config_do_not_depend_on_the_folder_it_is_loaded_from(
    folder: Path, components: Mapping[str, Registry[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = load_config("toy.yaml", components=components)
    monkeypatch.chdir(folder.parent)

    assert load_config(folder / "toy.yaml", components=components) == here
