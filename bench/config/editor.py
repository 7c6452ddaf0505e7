"""JSON schema for editors: completion, units on hover, red lines before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any, TypeAlias, get_args

from pydantic_core import to_jsonable_python

from bench.config.nested import is_list, is_record, registry_of, without_null
from bench.config.options import Options, component_options, record_options
from bench.config.sections import COMPONENT_SECTIONS, STATIC_SECTIONS, STUDY_SECTIONS, HeadConfig, Section
from bench.config.shipped import fragment_names
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
    definitions: dict[str, Schema] = {}
    sections = {name: component_schema(components[name], definitions) for name in COMPONENT_SECTIONS}
    sections |= {name: section_schema(model) for name, model in STATIC_SECTIONS.items()}
    head = section_schema(HeadConfig)["properties"]
    # allowed, not described: bench.study.schema, of a layer above this one, knows what they may hold
    of_studies = {name: {"description": "Of a study, which 'bench study' runs."} for name in STUDY_SECTIONS}
    return {
        "$schema": DRAFT,
        "title": "faceloss-bench configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": {**_PATH_KEYS, **head, **sections, **of_studies},
        # A plugin's names are unknown here, so a file that has plugins, or may inherit some, may use any.
        "if": {"anyOf": [{"required": ["plugins"]}, _extends_others()]},
        "else": {"properties": {name: _known_name(components[name]) for name in COMPONENT_SECTIONS}},
        **({"definitions": definitions} if definitions else {}),
    }


def _extends_others() -> Schema:
    """Holds for a file that extends more than what ships, which needs no plugins."""
    names = fragment_names()
    shipped = {"enum": [*names, *(name.removesuffix(".yaml") for name in names)]}
    only_shipped = {"anyOf": [shipped, {"type": "array", "items": shipped}]}
    return {"required": ["extends"], "properties": {"extends": {"not": only_shipped}}}


def _known_name(registry: Registry[Any]) -> Schema:
    known: Schema = {"enum": registry.names()}
    if registry.families():
        known = {"anyOf": [known, *(_behind(prefix) for prefix in registry.families())]}
    return {"properties": {"name": known}}


def _behind(prefix: str) -> Schema:
    """Any name of a family: which there are depends on the release of a package that is not ours."""
    return {"type": "string", "pattern": f"^{re.escape(prefix)}:."}


def component_schema(registry: Registry[Any], definitions: dict[str, Schema]) -> Schema:
    """A section that names one of a registry.

    Args:
        registry: what may be named.
        definitions: takes what is defined once.
    """
    names = registry.names()
    summaries = "\n".join(
        [f"{name}: {registry.summary(name)}" for name in names]
        + [f"{prefix}:NAME: {family.summary}" for prefix, family in registry.families().items()]
    )
    cases = [_case({"const": name}, component_options(registry, name), definitions) for name in names]
    for prefix, family in registry.families().items():
        # Listed where their package is installed: names complete, options are checked.
        members = family.members(registry.kind, prefix) if family.is_installed() else []
        names = [*names, *members]
        if family.alike and members:
            case = _case(_behind(prefix), component_options(registry, members[0]), definitions)
            case["then"]["properties"]["name"] = {"description": family.summary}  # of one: it stands for all
            cases.append(case)
        else:
            cases += [
                _case({"const": name}, component_options(registry, name), definitions) for name in members
            ]
    return {
        "type": "object",
        "description": f"The {registry.kind} and its options.\n{summaries}",
        # Any text is a name, since plugins bring more, but editors complete those that are known.
        "properties": {"name": {"description": summaries, "anyOf": [{"enum": names}, {"type": "string"}]}},
        "allOf": cases,
    }


def _case(name: Schema, options: Options, definitions: dict[str, Schema]) -> Schema:
    """The options that a section has whose name fits."""
    return {
        "if": {"properties": {"name": name}, "required": ["name"]},
        "then": _options(options, definitions),
    }


def _options(options: Options, definitions: dict[str, Schema]) -> Schema:
    schema = section_schema(options.model)
    for option, default in options.nested.items():
        described = {"description": options.described[option]} if option in options.described else {}
        filled = {} if default is MISSING else {"default": to_jsonable_python(default)}
        schema["properties"][option] = {**described, **filled, **_nested(options.types[option], definitions)}
    return schema


def _nested(annotation: Any, definitions: dict[str, Schema]) -> Schema:
    """An option that holds sections; what they are is defined once, since a sum may hold a sum."""
    if (single := without_null(annotation)) is not annotation:
        return {"anyOf": [_nested(single, definitions), {"type": "null"}]}
    if is_list(annotation):
        return {"type": "array", "items": _nested(get_args(annotation)[0], definitions)}
    registry = registry_of(annotation)
    key = (registry.kind if registry else annotation.__name__).replace(" ", "_")
    if key not in definitions:
        definitions[key] = {}  # before it is described, for it may hold itself
        if registry is not None:
            definitions[key] = component_schema(registry, definitions)
        elif is_record(annotation):
            definitions[key] = _options(record_options(annotation), definitions)
    # Beside `$ref` draft 7 ignores all other keys, so it stands alone in a list.
    return {"allOf": [{"$ref": f"#/definitions/{key}"}]}


def section_schema(model: type[Section]) -> Schema:
    """A section that is the same whatever is named."""
    schema = model.model_json_schema(by_alias=True)
    schema.pop("required", None)
    schema.pop("title", None)
    schema.setdefault("properties", {})
    for option in schema["properties"].values():
        option.pop("title", None)  # the key in other letters
    return schema
