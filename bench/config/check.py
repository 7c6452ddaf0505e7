"""A merged tree against the schema: a `RunConfig`, or every problem in it at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError

from bench.config.layers import COMMAND_LINE, dotted
from bench.config.options import option_name, option_values, options_model
from bench.config.plugins import Plugin, import_plugin
from bench.config.rules import shown_value, type_at, violated, wrong_key
from bench.config.run_config import Component, RunConfig
from bench.config.sections import COMPONENT_SECTIONS, STATIC_SECTIONS, HeadConfig, Section
from bench.config.yaml_file import DataPath, Key, Node, Origin, Plain, child, origin_at, plain
from bench.errors import ConfigError, UserError, did_you_mean
from losses.registry import Registry, UnknownNameError

KNOWN_KEYS = (*HeadConfig.model_fields, "extends", "plugins", *COMPONENT_SECTIONS, *STATIC_SECTIONS)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration."""

    origin: Origin
    path: str
    message: str

    def __str__(self) -> str:
        if self.origin == COMMAND_LINE:
            return f"{self.path}: {self.message} ({self.origin})"
        return f"{self.origin}: {self.path}: {self.message}"


def check(tree: Node, default_name: str, components: Mapping[str, Registry[Any]]) -> RunConfig:
    """Validate a merged tree.

    Args:
        tree: a mapping, without `extends`.
        default_name: name of the run when the tree has none.
        components: section -> registry, for every name in COMPONENT_SECTIONS.

    Raises:
        ConfigError: all problems, sorted by file and line, the command line's last.
    """
    checker = _Checker(tree, components)
    plugins = checker.plugins()
    head = checker.head(default_name)
    chosen = {section: checker.component(section) for section in COMPONENT_SECTIONS}
    static = {section: checker.static(section, model) for section, model in STATIC_SECTIONS.items()}
    if checker.problems:
        ordered = sorted(checker.problems, key=lambda it: (it.origin == COMMAND_LINE, it.origin, it.path))
        raise ConfigError(dict.fromkeys(map(str, ordered)))
    values: dict[str, Any] = {**head, **chosen, **static}
    return RunConfig(**values, plugins=plugins, origins={dotted(path): str(o) for path, o in _origins(tree)})


class _Checker:
    """Collects the problems of one tree, section by section."""

    def __init__(self, tree: Node, components: Mapping[str, Registry[Any]]) -> None:
        self.tree = tree
        self.components = components
        self.problems: list[Problem] = []
        self.plugin_failed = False

    def report(self, path: DataPath, message: str) -> None:
        self.problems.append(Problem(origin_at(self.tree, path), dotted(path), message))

    def plugins(self) -> tuple[Plugin, ...]:
        node = child(self.tree, "plugins")
        if node is None:
            return ()
        entries = node.value
        if not isinstance(entries, tuple):
            self.report(
                ("plugins",),
                f"must be a list of Python files, such as [my_losses.py], got {shown_value(plain(node))}",
            )
            return ()
        found: dict[str, Plugin] = {}
        for index, entry in enumerate(entries):
            if not isinstance(entry.value, str):
                self.report(("plugins", index), f"must be a Python file, got {shown_value(plain(entry))}")
                continue
            folder = Path() if entry.origin == COMMAND_LINE else Path(entry.origin.file).parent
            try:
                plugin = import_plugin(folder / entry.value)
            except UserError as error:
                self.plugin_failed = True
                self.report(("plugins", index), str(error))
            else:
                found[plugin.digest] = plugin
        return tuple(found.values())

    def head(self, default_name: str) -> dict[str, Plain]:
        values = plain(self.tree)
        assert isinstance(values, dict)
        for key in values:
            if key not in KNOWN_KEYS:
                self.report((key,), f"unknown key{did_you_mean(str(key), KNOWN_KEYS)}")
        given: dict[Key, Plain] = {"name": default_name}
        given |= {key: value for key, value in values.items() if key in HeadConfig.model_fields}
        checked = self.validated(HeadConfig, given, (), _types(HeadConfig))
        return checked.model_dump() if checked else {}

    def static(self, section: str, model: type[Section]) -> Section | None:
        node = child(self.tree, section)
        values = plain(node) if node is not None else {}
        if not isinstance(values, dict):
            self.report((section,), f"must be a section of 'key: value' lines, got {shown_value(values)}")
            return None
        return self.validated(model, values, (section,), _types(model))

    def component(self, section: str) -> Component | None:
        registry = self.components[section]
        node = child(self.tree, section)
        values = plain(node) if node is not None else None
        if not isinstance(values, dict):
            self.report((section,), _not_a_component(section, registry, values, missing=node is None))
            return None
        name = values.get("name")
        if not isinstance(name, str) or len(name) > 100:
            names = _listed(registry.names())
            given = f"must be one of {names}, got {shown_value(name)}"
            self.report((section, "name"), given if "name" in values else f"missing; one of {names}")
            return None
        try:
            model = options_model(registry, name)
        except UnknownNameError as error:
            if not self.plugin_failed:  # the plugin that failed may be what defines it
                self.report((section, "name"), str(error))
            return None
        except UserError as error:
            self.report((section, "name"), str(error))
            return None
        types = {option: annotation for option, (annotation, _) in registry.options(name).items()}
        checked = self.validated(model, values, (section,), types, owner=name)
        return Component(name, option_values(checked)) if checked else None

    def validated(
        self,
        model: type[Section],
        values: Plain,
        at: DataPath,
        types: Mapping[str, Any],
        owner: str = "",
    ) -> Section | None:
        """The section, or None after reporting what pydantic found, in our words."""
        try:
            return model.model_validate(values)
        except ValidationError as error:
            for found in error.errors(include_url=False):
                path = _data_path(values, map(option_name, found["loc"]))
                by_default = isinstance(values, dict) and path[0] not in values
                value = found["input"] if by_default else _value_at(values, path)
                if found["type"] in ("extra_forbidden", "invalid_key"):
                    message = f"unknown key{_known(str(path[0]), types, owner)}"
                elif found["type"] == "value_error":
                    message = f"{found['ctx']['error']}, got {shown_value(value)}"
                elif "[key]" in found["loc"]:
                    message = wrong_key(types.get(str(path[0])), path[-1])
                elif (annotation := type_at(types.get(str(path[0])), path[1:])) is not None:
                    message = violated(annotation, value)
                else:
                    message = f"{found['msg']}, got {shown_value(value)}"
                self.report((*at, *path), f"{message}, its default" if by_default else message)
            return None


def _types(model: type[Section]) -> dict[str, Any]:
    """Option -> type with its limits; pydantic keeps the two apart."""
    return {
        name: Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        for name, field in model.model_fields.items()
    }


def _data_path(values: Plain, loc: Iterable[int | str]) -> DataPath:
    """The part of pydantic's location that lies in the data: it also names members of unions."""
    path: list[int | str] = []
    for part in loc:
        if isinstance(values, dict):
            key = next((key for key in values if str(key) == str(part)), None)
            if key is None and path:
                break
            path.append(part if key is None else key)
            values = None if key is None else values[key]
        elif isinstance(values, tuple) and isinstance(part, int) and part < len(values):
            path.append(part)
            values = values[part]
        else:
            break
    return tuple(path)


def _value_at(values: Plain, path: DataPath) -> Plain:
    for part in path:
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, tuple) and isinstance(part, int):
            values = values[part]
    return values


def _known(key: str, types: Mapping[str, Any], owner: str) -> str:
    """The end of a message about an unknown key: the nearest key, or all there are."""
    hint = did_you_mean(key[:100], types)
    if hint or not owner:
        return hint
    return f"; '{owner}' takes {_listed(types)}" if types else f"; '{owner}' takes no options"


def _not_a_component(section: str, registry: Registry[Any], value: Plain, *, missing: bool) -> str:
    if missing:
        names = _listed(registry.names())
        return f"missing; add '{section}: {{name: ...}}' ({names}), or 'extends: base/rendered.yaml'"
    if isinstance(value, str) and value in registry.names():
        return f"must be a section: '{section}: {{name: {value}}}', or {section}.name={value} as an override"
    return f"must be a section with a name ({_listed(registry.names())}), got {shown_value(value)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _origins(node: Node, path: DataPath = ()) -> Iterable[tuple[DataPath, Origin]]:
    yield path, node.origin
    if isinstance(node.value, Mapping):
        for key, entry in node.value.items():
            yield from _origins(entry, (*path, key))
    elif isinstance(node.value, tuple):
        for index, entry in enumerate(node.value):
            yield from _origins(entry, (*path, index))
