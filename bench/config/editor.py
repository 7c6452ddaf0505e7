"""JSON schema for editors: completion, units on hover, red lines before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from bench.config.options import options_model
from bench.config.sections import COMPONENT_SECTIONS, STATIC_SECTIONS, HeadConfig, Section
from losses.registry import Registry

Schema: TypeAlias = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"  # the newest that yaml-language-server knows in full

_FILES = {"type": "array", "items": {"type": "string"}}
_PATH_KEYS: dict[str, Schema] = {
    "extends": {
        "description": "A file, or a list of files, that this one adds to and changes: relative to this "
        "file, or shipped (base/rendered.yaml). Changing a section's name replaces the section.",
        "anyOf": [{"type": "string"}, _FILES],
    },
    "plugins": {
        "description": "Python files, relative to this one, that register losses, backbones and the like.",
        **_FILES,
    },
}


def json_schema(components: Mapping[str, Registry[Any]] | None = None) -> Schema:
    """Schema of a configuration file.

    Nothing is required, since `extends:` may bring it. The options of a section are checked when the file
    itself names the component.

    Args:
        components: section -> registry, in place of the registered losses, backbones and so on.
    """
    if components is None:
        from bench.config.components import COMPONENTS  # imports every backbone and data set

        components = COMPONENTS
    sections = {name: _component(name, components[name]) for name in COMPONENT_SECTIONS}
    sections |= {name: _object(model) for name, model in STATIC_SECTIONS.items()}
    head = _object(HeadConfig)["properties"]
    return {
        "$schema": DRAFT,
        "title": "faceloss-bench configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": {**_PATH_KEYS, **head, **sections},
        # A plugin's names are unknown here, so a file with plugins may use any.
        "if": {"required": ["plugins"]},
        "else": {"properties": {name: _known_name(components[name]) for name in COMPONENT_SECTIONS}},
    }


def _known_name(registry: Registry[Any]) -> Schema:
    return {"properties": {"name": {"enum": registry.names()}}}


def _component(section: str, registry: Registry[Any]) -> Schema:
    names = registry.names()
    cases = [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": _object(options_model(registry, name)),
        }
        for name in names
    ]
    summaries = "\n".join(f"{name}: {registry.summary(name)}" for name in names)
    return {
        "type": "object",
        "description": f"The {registry.kind} and its options.\n{summaries}",
        "properties": {"name": {"type": "string", "description": summaries}},
        "allOf": cases,
    }


def _object(model: type[Section]) -> Schema:
    schema = model.model_json_schema(by_alias=True)
    schema.pop("required", None)
    schema.pop("title", None)
    for option in schema["properties"].values():
        option.pop("title", None)  # the key in other letters
    return schema
