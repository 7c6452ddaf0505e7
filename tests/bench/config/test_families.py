"""`name: toys:Ring`: a component of another package, checked like one of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.config import json_schema, load_config
from bench.errors import ConfigError
from losses.families import Family
from losses.registry import Registry
from losses.types import Positive

from .conftest import Center, Triplet


def _made(name: str) -> Callable[..., Any]:
    def ring(*, radius: Positive = 1.0) -> None: ...

    def spring(*, stiffness: Positive = 2.0, radius: Positive = 3.0) -> None: ...

    made = {"Ring": ring, "Spring": spring}[name]
    made.__doc__ = f"The {name} of the toys."
    return made


def _with_toys(components: Mapping[str, Registry[Any]], **changes: Any) -> dict[str, Registry[Any]]:
    losses: Registry[Any] = Registry("loss")
    losses.register(Center)
    losses.register(Triplet)
    given = {"package": "json", "alike": False, **changes}
    family: Family[Any] = Family(
        "any toy", install="pip install toys", names=lambda: ["Ring", "Spring"], factory=_made, **given
    )
    losses.add_family("toys", family)
    return {**components, "loss": losses}


@pytest.fixture
def toys(components: Mapping[str, Registry[Any]]) -> dict[str, Registry[Any]]:
    return _with_toys(components)


def _problems(components: Mapping[str, Registry[Any]], *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config("toy.yaml", overrides, components=components)
    return list(caught.value.problems)


def test_a_member_takes_its_options_from_file_and_command_line(
    folder: Path, toys: dict[str, Registry[Any]], valid: str
) -> None:
    text = valid.replace("{name: center, factor: 0.01}", "{name: toys:Spring, stiffness: 5.0}")
    (folder / "toy.yaml").write_text(text)
    config = load_config("toy.yaml", ["loss.radius=7"], components=toys)
    assert config.loss.name == "toys:Spring"
    assert dict(config.loss.options) == {"stiffness": 5.0, "radius": 7.0}


def test_another_member_replaces_the_whole_section(folder: Path, toys: dict[str, Registry[Any]]) -> None:
    config = load_config("toy.yaml", ["loss.name=toys:Ring"], components=toys)
    assert dict(config.loss.options) == {"radius": 1.0}


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["loss.name=toys:Sprig"], "loss.name: unknown loss 'toys:Sprig'; did you mean 'toys:Spring'?"),
        (
            ["loss.name=toys:Ring", "loss.radios=1"],
            "loss.radios: unknown key; did you mean 'radius'?",
        ),
        (["loss.name=toys:Ring", "loss.radius=-1"], "loss.radius: must be > 0, got -1"),
        (
            ["loss=toys:Ring"],
            "loss: must be a section: 'loss: {name: toys:Ring}', or loss.name=toys:Ring as an override",
        ),
        (["loss=3"], "loss: must be a section with a name (center, toys:NAME, triplet), got 3"),
    ],
)
def test_mistakes_get_the_same_messages(
    folder: Path, toys: dict[str, Registry[Any]], overrides: list[str], problem: str
) -> None:
    assert _problems(toys, *overrides) == [f"{problem} (command line)"]


def test_a_missing_package_is_one_line(folder: Path, components: Mapping[str, Registry[Any]]) -> None:
    registries = _with_toys(components, package="no_such_package")
    assert _problems(registries, "loss.name=toys:Ring") == [
        "loss.name: loss 'toys:...' needs the package no_such_package; install it with: pip install toys "
        "(command line)"
    ]


def test_the_schema_lists_the_members_and_checks_their_options(toys: dict[str, Registry[Any]]) -> None:
    schema = json_schema(toys)
    loss = schema["properties"]["loss"]
    assert loss["properties"]["name"]["anyOf"][0]["enum"] == ["center", "triplet", "toys:Ring", "toys:Spring"]
    assert "toys:NAME: any toy" in loss["description"]
    cases = {case["if"]["properties"]["name"]["const"]: case["then"] for case in loss["allOf"]}
    assert set(cases["toys:Spring"]["properties"]) == {"name", "stiffness", "radius"}
    known = schema["else"]["properties"]["loss"]["properties"]["name"]
    assert known == {"anyOf": [{"enum": ["center", "triplet"]}, {"type": "string", "pattern": "^toys:."}]}


def test_the_schema_holds_the_options_of_an_alike_family_once(
    components: Mapping[str, Registry[Any]],
) -> None:
    loss = json_schema(_with_toys(components, alike=True))["properties"]["loss"]
    *_, last = loss["allOf"]
    assert last["if"]["properties"]["name"] == {"type": "string", "pattern": "^toys:."}
    assert len(loss["allOf"]) == 3
    # the first member's name must not be demanded of the others
    assert "const" not in last["then"]["properties"]["name"]


def test_the_schema_allows_a_family_whose_package_is_missing(components: Mapping[str, Registry[Any]]) -> None:
    schema = json_schema(_with_toys(components, package="no_such_package"))
    assert len(schema["properties"]["loss"]["allOf"]) == 2
    known = schema["else"]["properties"]["loss"]["properties"]["name"]["anyOf"]
    assert {"type": "string", "pattern": "^toys:."} in known
