"""The JSON schema of a study says what the loader enforces: checked by reading it, no validator needed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.study.schema import file_schema


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return file_schema()


def test_the_schema_is_plain_json_and_describes_every_section(schema: dict[str, Any]) -> None:
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    assert all("description" in section for section in schema["properties"].values())
    assert "required" not in schema


def test_a_sampler_s_options_depend_on_its_name(schema: dict[str, Any]) -> None:
    cases = {
        case["if"]["properties"]["name"]["const"]: set(case["then"]["properties"])
        for case in schema["properties"]["sampler"]["allOf"]
    }
    assert cases["tpe"] == {"name", "startup_trials", "candidates", "multivariate"}
    assert cases["cmaes"] == {"name", "startup_trials", "sigma"}


def test_limits_and_units_of_the_study_section_reach_the_editor(schema: dict[str, Any]) -> None:
    study = schema["properties"]["study"]
    assert study["additionalProperties"] is False
    assert study["properties"]["trials"]["exclusiveMinimum"] == 0
    assert "seconds between two signs of life" in study["properties"]["heartbeat_s"]["description"]
    assert {"type": "null"} in study["properties"]["gpus_per_trial"]["anyOf"]


def test_a_range_is_one_of_three_kinds_and_has_no_other_key(schema: dict[str, Any]) -> None:
    kinds = schema["properties"]["search"]["additionalProperties"]["anyOf"]
    assert [kind["required"] for kind in kinds] == [["float"], ["int"], ["categorical"]]
    assert [set(kind["properties"]) for kind in kinds] == [
        {"float", "log", "step", "when"}, {"int", "log", "step", "when"}, {"categorical", "when"},
    ]  # fmt: skip
    assert all(kind["additionalProperties"] is False for kind in kinds)
