"""A merged tree against the schema: a `RunConfig`, or every problem in it at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import ValidationError

from bench.config.findings import findings
from bench.config.layers import COMMAND_LINE, dotted
from bench.config.nested import is_list, is_record, registry_of, without_null
from bench.config.options import Options, component_options, option_values, record_options
from bench.config.plugins import Plugin, import_plugin
from bench.config.rules import listed, rule, shown_value, violated
from bench.config.run_config import Component, RunConfig
from bench.config.sections import (
    COMPONENT_SECTIONS,
    STATIC_SECTIONS,
    STUDY_SECTIONS,
    HeadConfig,
    InitConfig,
    Section,
)
from bench.config.yaml_file import (
    MAX_DEPTH,
    DataPath,
    Key,
    Node,
    Origin,
    Plain,
    child,
    node_at,
    origin_at,
    plain,
)
from bench.errors import BenchError, ConfigError, UserError, did_you_mean
from losses.registry import Choice, Registry, UnknownNameError

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
    checker = Checker(tree, components)
    plugins = checker.plugins()
    head = checker.head(default_name)
    chosen = {section: checker.component(section) for section in COMPONENT_SECTIONS}
    static = {section: checker.static(section, model) for section, model in STATIC_SECTIONS.items()}
    chosen["backbone"] = checker.pinned(chosen["backbone"])
    static["init"] = checker.weights(static["init"])
    checker.finish()
    values: dict[str, Any] = {**head, **chosen, **static}
    return RunConfig(**values, plugins=plugins, origins={dotted(path): str(o) for path, o in _origins(tree)})


class Checker:
    """Collects the problems of one tree, section by section.

    Args:
        tree: a mapping, without `extends`.
        components: section -> registry, for every section that `component` will be asked for.
    """

    def __init__(self, tree: Node, components: Mapping[str, Registry[Any]]) -> None:
        self.tree = tree
        self.components = components
        self.problems: list[Problem] = []
        self.plugin_failed = False
        self.too_deep = False

    def report(self, path: DataPath, message: str, *, missing: bool = False) -> None:
        """Note a problem; a value that is not in the tree is a default, whose author is to blame."""
        by_default = not missing and node_at(self.tree, path) is None
        text = f"{message}, its default" if by_default else message
        self.problems.append(Problem(origin_at(self.tree, path), dotted(path), text))

    def finish(self) -> None:
        """Raise what was found.

        Raises:
            ConfigError: all problems, sorted by file and line, the command line's last.
        """
        if self.problems:
            ordered = sorted(self.problems, key=lambda it: (it.origin == COMMAND_LINE, it.origin, it.path))
            raise ConfigError(dict.fromkeys(map(str, ordered)))

    def plugins(self) -> tuple[Plugin, ...]:
        """Import what `plugins` names."""
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
        """The keys at the top that are values."""
        values = plain(self.tree)
        assert isinstance(values, dict)
        for key in values:
            if key in STUDY_SECTIONS:
                self.report((key,), "belongs to a study, which 'bench study' runs; this is a single run")
            elif key not in KNOWN_KEYS:
                hint = did_you_mean(str(key), (*KNOWN_KEYS, *STUDY_SECTIONS))
                self.report((key,), f"unknown key{hint}")
        given: dict[Key, Plain] = {"name": default_name}
        given |= {key: value for key, value in values.items() if key in HeadConfig.model_fields}
        checked = self.validated(HeadConfig, given, (), field_types(HeadConfig))
        return checked.model_dump() if checked else {}

    def static(self, section: str, model: type[Section]) -> Section | None:
        """A section that is the same for every component; None after a problem."""
        node = child(self.tree, section)
        values = plain(node) if node is not None else {}
        if not isinstance(values, dict):
            self.report((section,), f"must be a section of 'key: value' lines, got {shown_value(values)}")
            return None
        return self.validated(model, values, (section,), field_types(model))

    def weights(self, init: Section | None) -> Section | None:
        """The section with the checksum of the weights that it names, unless the file insists on one."""
        if not isinstance(init, InitConfig) or init.source is None or init.sha256 is not None:
            return init
        import torch  # here, not above: most configurations start from random weights

        from bench.weights import read_weights

        try:
            weights = read_weights(Path(init.source), torch.device("cpu"))
        except BenchError as error:
            self.report(("init", "from"), str(error))
            return None
        return init.model_copy(update={"sha256": weights.checksum(backbone_only=init.backbone_only)})

    def pinned(self, backbone: Component | None) -> Component | None:
        """The backbone with the checksum of the file that its weights come from, unless it insists on one."""
        options = {} if backbone is None else dict(backbone.options)
        path = options.get("weights")
        if backbone is None or not isinstance(path, str) or options.get("weights_sha256", "") is not None:
            return backbone
        if not Path(path).is_file():  # whoever builds the backbone says so
            return backbone
        from bench.backbones.pretrained import file_sha256  # here, not above: it imports torch

        return Component(backbone.name, options | {"weights_sha256": file_sha256(Path(path))})

    def component(self, section: str) -> Component | None:
        """A section that names a component; None after a problem."""
        registry = self.components[section]
        node = child(self.tree, section)
        if node is None:
            self.report((section,), _missing_component((section,), registry), missing=True)
            return None
        chosen = self.choice(registry, plain(node), MISSING, (section,))
        return Component(chosen.name, dict(chosen.options)) if chosen else None

    def choice(self, registry: Registry[Any], given: Any, default: Any, at: DataPath) -> Choice | None:
        """A component's section; what it leaves out is as in the default if that has the same name."""
        if not isinstance(given, dict):
            self.report(at, _not_a_component(at, registry, given))
            return None
        base = default if isinstance(default, dict) else {}
        name = given.get("name", base.get("name"))
        if not isinstance(name, str) or len(name) > 100:
            names = listed(registry.spellings())
            wrong = f"must be one of {names}, got {shown_value(name)}"
            absent = "name" not in given
            self.report((*at, "name"), f"missing; one of {names}" if absent else wrong, missing=absent)
            return None
        try:
            options = component_options(registry, name)
        except UnknownNameError as error:
            if not self.plugin_failed:  # the plugin that failed may be what defines it
                self.report((*at, "name"), str(error))
            return None
        except UserError as error:
            self.report((*at, "name"), str(error))
            return None
        same = base.get("name") == name
        values = self.section(options, {**given, "name": name}, base if same else {}, at, owner=name)
        return None if values is None else Choice(name, values)

    def record(self, record: type, given: Any, default: Any, at: DataPath) -> Any:
        """A dataclass; what its section leaves out is as in the default."""
        if not isinstance(given, dict):
            self.report(at, violated(record, given))
            return None
        try:
            options = record_options(record)
        except UserError as error:
            self.report(at, str(error))
            return None
        owner = next(str(part) for part in reversed(at) if isinstance(part, str))
        values = self.section(options, given, default if isinstance(default, dict) else {}, at, owner=owner)
        if values is None or self.plugin_failed:
            return None
        try:
            return record(**values)
        except ValueError as error:
            self.report(at, str(error))
            return None

    def section(
        self,
        options: Options,
        given: dict[Key, Plain],
        base: dict[Key, Plain],
        at: DataPath,
        *,
        owner: str,
    ) -> dict[str, Any] | None:
        """The options of a section laid over `base`, or None when there is a problem in it."""
        before = len(self.problems)
        flat = {key: value for key, value in {**base, **given}.items() if key not in options.nested}
        checked = self.validated(options.model, flat, at, options.types, owner)
        nested = {
            option: self.value(
                options.types[option], given.get(option, MISSING), base.get(option, default), (*at, option)
            )
            for option, default in options.nested.items()
        }
        if checked is None or len(self.problems) > before:
            return None
        values = option_values(checked) | nested
        return {option: values[option] for option in options.types}

    def value(self, annotation: Any, given: Any, default: Any, at: DataPath) -> Any:
        """An option that holds sections.

        Args:
            annotation: its type.
            given: what the tree has, or MISSING.
            default: what a given section is laid over, and an absent one taken from; as a file would hold it.
            at: where it is.
        """
        if len(at) > MAX_DEPTH:
            if not self.too_deep:  # a default that holds itself twice would double this line at each level
                self.report(at, f"nested more than {MAX_DEPTH} deep")
            self.too_deep = True
            return None
        if given is MISSING:
            given = default
        if without_null(annotation) is not annotation:
            return None if given is None else self.value(without_null(annotation), given, default, at)
        registry = registry_of(annotation)
        if given is MISSING:
            words = f"missing; must be {rule(annotation)}"
            self.report(at, _missing_component(at, registry) if registry else words, missing=True)
            return None
        if registry is not None:
            return self.choice(registry, given, default, at)
        if is_record(annotation):
            return self.record(annotation, given, default, at)
        assert is_list(annotation)
        return self.entries(annotation, given, default, at)

    def entries(self, annotation: Any, given: Any, default: Any, at: DataPath) -> Any:
        """A list of sections."""
        member = get_args(annotation)[0]
        if isinstance(default, tuple) and self.reaches_into_list(given, at):
            for index in given:
                if index not in range(len(default)):
                    message = f"'{dotted(at)}' is a list of {len(default)}, counted from 0"
                    self.report((*at, index), message)
            return tuple(
                self.value(member, given.get(index, MISSING), entry, (*at, index))
                for index, entry in enumerate(default)
            )
        if not isinstance(given, tuple):
            self.report(at, violated(annotation, given))
            return None
        return tuple(self.value(member, entry, MISSING, (*at, index)) for index, entry in enumerate(given))

    def reaches_into_list(self, given: Any, at: DataPath) -> bool:
        """Whether overrides name entries of a list that no file has, only the default: `terms.1.weight=3`."""
        node = node_at(self.tree, at)
        by_index = isinstance(given, dict) and given and all(isinstance(key, int) for key in given)
        return bool(by_index) and node is not None and node.origin == COMMAND_LINE

    def validated(
        self,
        model: type[Section],
        values: dict[Key, Plain],
        at: DataPath,
        types: Mapping[str, Any],
        owner: str = "",
    ) -> Section | None:
        """The section, or None after reporting what pydantic found, in our words."""
        try:
            return model.model_validate(values)
        except ValidationError as error:
            for path, message, missing in findings(error, values, types, owner):
                self.report((*at, *path), message, missing=missing)
            return None


def field_types(model: type[Section]) -> dict[str, Any]:
    """Option -> type with its limits; pydantic keeps the two apart."""
    return {
        field.alias or name: Annotated[(field.annotation, *field.metadata)]
        if field.metadata
        else field.annotation
        for name, field in model.model_fields.items()
    }


def _not_a_component(at: DataPath, registry: Registry[Any], value: Plain) -> str:
    if isinstance(value, str) and (
        value in registry.names() or value.partition(":")[0] in registry.families()
    ):
        key = f"{at[-1]}: " if isinstance(at[-1], str) else ""
        return f"must be a section: '{key}{{name: {value}}}', or {dotted(at)}.name={value} as an override"
    return f"must be {rule(Annotated[Choice, registry])}, got {shown_value(value)}"


def _missing_component(at: DataPath, registry: Registry[Any]) -> str:
    # base/rendered.yaml has all sections but the loss
    shipped = "softmax.yaml" if at == ("loss",) else "base/rendered.yaml"
    parent = f", or 'extends: {shipped}'" if len(at) == 1 else ""
    return f"missing; add '{at[-1]}: {{name: ...}}' ({listed(registry.spellings())}){parent}"


def _origins(node: Node, path: DataPath = ()) -> Iterable[tuple[DataPath, Origin]]:
    yield path, node.origin
    if isinstance(node.value, Mapping):
        for key, entry in node.value.items():
            yield from _origins(entry, (*path, key))
    elif isinstance(node.value, tuple):
        for index, entry in enumerate(node.value):
            yield from _origins(entry, (*path, index))
