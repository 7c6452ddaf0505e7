"""Layers of a configuration: what `extends:` names, the file itself, then overrides; later layers win.

Mappings merge key by key, everything else is replaced whole. Two kinds of mapping are replaced whole as well:
one whose `name` changes (the options of another loss mean nothing to this one), and one with whole numbers as
keys (a step schedule is one value). `plugins` add up, because a parent's plugins define what it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.config.shipped import find_fragment, fragment_names, shown
from bench.config.yaml_file import DataPath, Key, Node, Origin, child, parse_yaml, read_yaml, scalar
from bench.errors import ConfigError, did_you_mean

COMMAND_LINE = Origin("command line")
NOT_INHERITED = ("name", "description")  # they say what one file is

_OVERRIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_:-]+)*)=(.*)", re.DOTALL)
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")


def read_layers(path: Path, chain: tuple[Path, ...] = ()) -> Node:
    """A file merged over everything it extends.

    Args:
        path: the file.
        chain: files that led here, for the message about a cycle.

    Raises:
        UserError: a file cannot be read.
        ConfigError: not YAML, a parent that does not exist, or a cycle.
    """
    node = read_yaml(path, shown(path))
    chain = (*chain, path.resolve())
    merged = Node({}, node.origin)
    for parent in _parents(node, path, chain):
        merged = merge(merged, _without(read_layers(parent, chain), NOT_INHERITED))
    return merge(merged, _without(node, ["extends"]))


def merge(base: Node, over: Node, path: DataPath = ()) -> Node:
    """`over` laid on `base`, by the rules at the top of this file."""
    if path == ("plugins",) and isinstance(base.value, tuple) and isinstance(over.value, tuple):
        return Node((*base.value, *over.value), over.origin)
    if not isinstance(base.value, Mapping) or not isinstance(over.value, Mapping):
        return over
    if path and (_renames(base.value, over.value) or _has_numbers_as_keys(base.value, over.value)):
        return over
    entries = dict(base.value)
    for key, node in over.value.items():
        entries[key] = merge(entries[key], node, (*path, key)) if key in entries else node
    return Node(entries, over.origin)


def override(tree: Node, overrides: Sequence[str]) -> Node:
    """The tree after `loss.alpha=0.3` and the like.

    An override means what a file that extends this one would mean, but a path may also reach into a list
    (`fars.0`) or a mapping with numbers (`rates.150`). Short paths go first, and `.name` before its siblings,
    so that the order on the command line does not matter.

    Raises:
        ConfigError: an override that is not `path=value`, or that leads through a plain value.
    """
    problems: list[str] = []
    changes: list[tuple[DataPath, Node]] = []
    for text in overrides:
        try:
            changes.append(_parse_override(text))
        except ConfigError as error:
            problems += error.problems
    for path, value in sorted(changes, key=lambda change: (len(change[0]), change[0][-1] != "name")):
        try:
            tree = Node(_set(tree, path, value).value, tree.origin)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return tree


def with_values(tree: Node, values: Mapping[DataPath, Node]) -> Node:
    """The tree after values that are no text of a command line: what a search has chosen, say.

    They mean what overrides of the same paths would mean, in any order.

    Raises:
        ConfigError: a path that leads through a plain value.
    """
    for path, value in sorted(values.items(), key=lambda entry: (len(entry[0]), entry[0][-1] != "name")):
        tree = Node(_set(tree, path, value).value, tree.origin)
    return tree


def data_path(text: str) -> DataPath:
    """`loss.terms.0.weight` -> `("loss", "terms", 0, "weight")`."""
    return tuple(int(part) if _INDEX.fullmatch(part) else part for part in text.split("."))


def dotted(path: Iterable[Key]) -> str:
    """`("loss", "alpha")` -> `loss.alpha`."""
    return ".".join(str(part) for part in path)


def _parents(node: Node, path: Path, chain: tuple[Path, ...]) -> list[Path]:
    assert isinstance(node.value, Mapping)
    extends = node.value.get("extends")
    if extends is None:
        return []
    entries = extends.value if isinstance(extends.value, tuple) else (extends,)
    return [_parent(entry, path, chain) for entry in entries]


def _parent(entry: Node, path: Path, chain: tuple[Path, ...]) -> Path:
    if not isinstance(entry.value, str) or not entry.value:
        raise ConfigError([f"{entry.origin}: extends: must be a path or a list of paths"])
    found = find_fragment(entry.value, path.parent)
    if found is None:
        hint = did_you_mean(entry.value[:100], fragment_names())
        raise ConfigError(
            [f"{entry.origin}: extends: {entry.value}: no such file, here or among the shipped ones{hint}"]
        )
    if found.resolve() in chain:
        circle = [*chain[chain.index(found.resolve()) :], found]
        raise ConfigError([f"{entry.origin}: extends: a circle: {' -> '.join(map(shown, circle))}"])
    return found


def _without(node: Node, keys: Iterable[Key]) -> Node:
    assert isinstance(node.value, Mapping)
    return Node({key: value for key, value in node.value.items() if key not in keys}, node.origin)


def _renames(base: Mapping[Key, Node], over: Mapping[Key, Node]) -> bool:
    return "name" in base and "name" in over and base["name"].value != over["name"].value


def _has_numbers_as_keys(*mappings: Mapping[Key, Node]) -> bool:
    return any(isinstance(key, int) for mapping in mappings for key in mapping)


def _parse_override(text: str) -> tuple[DataPath, Node]:
    match = _OVERRIDE.fullmatch(text)
    if match is None:
        shown_text = text.partition("=")[0][:60]
        raise ConfigError([f"'{shown_text}': not an override; write path=value, such as loss.margin=0.3"])
    path = data_path(match[1])
    if path[0] == "extends":
        raise ConfigError([f"extends: only a file can extend another ({COMMAND_LINE})"])
    value = match[2].strip()
    if not value:
        raise ConfigError([f"{dotted(path)}: no value after '='; write null for none ({COMMAND_LINE})"])
    if value[0] not in "[{'\"":  # else the shell user would have to quote `#`, `: `, `*` and the like
        return path, Node(scalar(value), COMMAND_LINE)
    try:
        return path, parse_yaml(value, COMMAND_LINE.file, line=0)
    except ConfigError as error:
        problem = error.problems[0].removeprefix(f"{COMMAND_LINE}: ")
        raise ConfigError([f"{dotted(path)}: {problem} ({COMMAND_LINE})"]) from error


def _set(tree: Node, path: DataPath, value: Node, at: int = 0) -> Node:
    """`tree` with `value` laid on what is at `path`; `path[:at]` is where `tree` itself is."""
    if not any(isinstance(part, int) for part in path[at:]):
        return merge(tree, _nested(path[at:], value), path[:at])
    part = path[at]
    inner = child(tree, part)
    if isinstance(tree.value, tuple):
        if inner is None or not isinstance(part, int):
            raise _no_way(path, at, f"a list of {len(tree.value)}, counted from 0", value.origin)
        changed = _set(inner, path, value, at + 1)
        return Node((*tree.value[:part], changed, *tree.value[part + 1 :]), tree.origin)
    if not isinstance(tree.value, Mapping):
        raise _no_way(path, at, "neither a section nor a list", value.origin)
    changed = _set(inner or Node({}, value.origin), path, value, at + 1)
    return Node({**tree.value, part: changed}, tree.origin)


def _nested(path: DataPath, value: Node) -> Node:
    for part in reversed(path):
        value = Node({part: value}, value.origin)
    return value


def _no_way(path: DataPath, at: int, what: str, origin: Origin) -> ConfigError:
    message = f"{dotted(path)}: '{dotted(path[:at])}' is {what}"
    at_command_line = origin == COMMAND_LINE
    return ConfigError([f"{message} ({origin})" if at_command_line else f"{origin}: {message}"])
