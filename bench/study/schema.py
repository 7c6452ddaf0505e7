"""JSON schema for editors: of runs and studies alike."""

from __future__ import annotations

from typing import Any

from bench.config.editor import Schema, component_schema, json_schema, section_schema
from bench.study.config import ObjectiveSection, StudySection
from bench.study.pruners import PRUNERS
from bench.study.samplers import SAMPLERS


def file_schema() -> Schema:
    """Schema of a configuration file, with the sections that make it a study."""
    schema = json_schema()
    definitions: dict[str, Schema] = schema.get("definitions", {})
    objective = {**section_schema(ObjectiveSection), "required": ["metric"]}
    schema["properties"] |= {
        "search": _search(),
        "objective": {
            "description": "The figure to search by; a list of several gives a Pareto front.",
            "anyOf": [objective, {"type": "array", "minItems": 1, "items": objective}],
        },
        "sampler": component_schema(SAMPLERS, definitions),
        "pruner": component_schema(PRUNERS, definitions),
        "study": {"description": "How many trials, and how patient.", **section_schema(StudySection)},
    }
    return schema


def _search() -> Schema:
    when = {
        "type": "object",
        "description": "Searched only where these paths, searched too, have these values.",
        "minProperties": 1,
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    }
    ranges = [_range("float", "number"), _range("int", "integer")]
    choices = {"type": "array", "description": "The values to try.", "minItems": 2, "uniqueItems": True}
    categorical = {"categorical": choices, "when": when}
    return {
        "type": "object",
        "description": "What is searched: the dotted path of a setting, and what may stand there.",
        "minProperties": 1,
        "additionalProperties": {
            "anyOf": [
                *(_closed({**properties, "when": when}, kind) for kind, properties in ranges),
                _closed(categorical, "categorical"),
            ]
        },
    }


def _range(kind: str, of: str) -> tuple[str, dict[str, Schema]]:
    ends = {
        "type": "array",
        "description": "[low, high]",
        "minItems": 2,
        "maxItems": 2,
        "items": {"type": of},
    }
    return kind, {
        kind: ends,
        "log": {"type": "boolean", "default": False, "description": "Search in the logarithm."},
        "step": {"type": of, "exclusiveMinimum": 0, "description": "Between two values; not beside log."},
    }


def _closed(properties: dict[str, Any], required: str) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": [required],
    }
