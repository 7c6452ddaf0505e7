"""The JSON schema says what the loader enforces: checked by reading it, no validator needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from bench.config import json_schema, load_config, shipped_configs
from losses.registry import Registry


@pytest.fixture(scope="module")
def schema(components: Mapping[str, Registry[Any]]) -> dict[str, Any]:
    return json_schema(components)


def options_of(schema: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    cases = schema["properties"][section]["allOf"]
    found = next(case for case in cases if case["if"]["properties"]["name"] == {"const": name})
    assert found["if"]["required"] == ["name"]
    assert found["then"]["additionalProperties"] is False
    properties: dict[str, Any] = found["then"]["properties"]
    return properties


def test_the_schema_is_plain_json(schema: dict[str, Any]) -> None:
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    assert "$defs" not in json.dumps(schema)


def test_every_key_of_a_file_is_there_and_no_other_is_allowed(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]) == {
        "extends", "plugins", "name", "description", "seed",
        "data", "backbone", "loss", "batch", "optimizer", "schedule",
        "init", "augment", "train", "evaluate", "runtime", "tracking",
        "search", "objective", "sampler", "pruner", "study",
    }  # fmt: skip
    assert schema["additionalProperties"] is False
    assert all("description" in entry for entry in schema["properties"].values())


def test_nothing_is_required_because_a_parent_may_bring_it(schema: dict[str, Any]) -> None:
    assert "required" not in schema
    assert "required" not in schema["properties"]["train"]
    assert all("required" not in case["then"] for case in schema["properties"]["loss"]["allOf"])


def test_options_depend_on_the_name(schema: dict[str, Any]) -> None:
    assert set(options_of(schema, "loss", "center")) == {"name", "factor", "alfa", "convention"}
    assert set(options_of(schema, "loss", "triplet")) == {
        "name", "alpha", "mining", "squared", "angle", "copy", "weights",
    }  # fmt: skip


def test_limits_defaults_units_and_choices_reach_the_editor(schema: dict[str, Any]) -> None:
    center = options_of(schema, "loss", "center")
    triplet = options_of(schema, "loss", "triplet")

    assert center["factor"] == {
        "default": 0.01,
        "description": "weight of the center term, dimensionless.",
        "minimum": 0.0,
        "type": "number",
    }
    assert triplet["alpha"]["exclusiveMinimum"] == 0.0
    assert triplet["mining"]["enum"] == ["all", "hard", "semi_hard"]
    assert triplet["angle"]["description"] == "(radians)"
    assert {"type": "null"} in triplet["angle"]["anyOf"]
    assert schema["properties"]["train"]["properties"]["epochs"]["description"] == "Length of training."


def test_unknown_names_are_flagged_unless_a_plugin_may_define_them(schema: dict[str, Any]) -> None:
    flagged = schema["else"]["properties"]["loss"]
    plugins, inherited = schema["if"]["anyOf"]
    one, several = inherited["properties"]["extends"]["not"]["anyOf"]

    assert flagged == {"properties": {"name": {"enum": ["center", "triplet"]}}}
    assert plugins == {"required": ["plugins"]}
    assert inherited["required"] == ["extends"]
    assert {"base/rendered.yaml", "base/rendered", "center"} <= set(one["enum"])
    assert several == {"type": "array", "items": one}


def test_nothing_that_ships_has_plugins_that_the_schema_would_not_know() -> None:
    runs = [name for name in shipped_configs() if "studies/" not in name]
    assert [name for name in runs if load_config(name).plugins] == []


def test_known_names_are_completed_and_others_allowed(schema: dict[str, Any]) -> None:
    name = schema["properties"]["loss"]["properties"]["name"]

    assert name["anyOf"] == [{"enum": ["center", "triplet"]}, {"type": "string"}]
    assert name["description"].endswith("\ntriplet: Triplets with a margin.")
