"""YAML without its traps: a file becomes a tree in which every value knows the line it was written on.

Why not `yaml.safe_load`: it reads `3e-4` as text, `on` as true, `010` as 8 and `1:30` as 90, lets the second
of two equal keys win in silence, and forgets lines. Here plain scalars follow YAML 1.2 (core schema, without
its octal and hexadecimal numbers), equal keys are an error, and anchors, aliases, merge keys and tags are
refused: `extends:` shares settings, and a tag could build objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import yaml

from bench.errors import ConfigError, UserError

Key: TypeAlias = str | int
Scalar: TypeAlias = bool | int | float | str | None
Plain: TypeAlias = "Scalar | tuple[Plain, ...] | dict[Key, Plain]"
DataPath: TypeAlias = tuple[Key, ...]

MAX_DEPTH = 20  # no configuration is deeper; keeps hostile files from exhausting the stack
MAX_BYTES = 1_000_000

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    "-.inf": float("-inf"),
    ".nan": float("nan"),
}


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a value was written.

    Args:
        file: path as messages show it, or a word such as `command line`.
        line: counted from 1; 0 where there is no line.
    """

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its origin; in a mapping the origin is the line of the key."""

    value: Scalar | tuple[Node, ...] | Mapping[Key, Node]
    origin: Origin


def plain(node: Node) -> Plain:
    """The value alone: mappings as dicts, sequences as tuples."""
    if isinstance(node.value, Mapping):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, tuple):
        return tuple(plain(child) for child in node.value)
    return node.value


def child(node: Node, part: Key) -> Node | None:
    """The entry of a mapping, or of a list by its index from 0; None where there is none."""
    if isinstance(node.value, Mapping):
        return node.value.get(part)
    if isinstance(node.value, tuple) and isinstance(part, int) and 0 <= part < len(node.value):
        return node.value[part]
    return None


def node_at(node: Node, path: DataPath) -> Node | None:
    """What is at `path`; None where there is nothing."""
    for part in path:
        inner = child(node, part)
        if inner is None:
            return None
        node = inner
    return node


def origin_at(node: Node, path: DataPath) -> Origin:
    """Origin of the value at `path`, or of the nearest mapping or list around it."""
    for part in path:
        inner = child(node, part)
        if inner is None:
            break
        node = inner
    return node.origin


def scalar(text: str) -> Scalar:
    """What an unquoted scalar means: null, true or false, a number, else the text itself.

    >>> [scalar(text) for text in ("3e-4", "10", "yes", "010", "1_000", "true", "1:30")]
    [0.0003, 10, 'yes', '010', '1_000', True, '1:30']
    """
    if text in _WORDS:
        return _WORDS[text]
    # A whole number that does not fit in 64 bits is a float: the schema then refuses it where one is due.
    if len(text) < 20 and _INT.fullmatch(text) and abs(int(text)) < 2**63:
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def read_yaml(path: Path, shown_as: str) -> Node:
    """The mapping in a file.

    Args:
        path: file to read.
        shown_as: how messages and origins call it.

    Raises:
        UserError: cannot be read.
        ConfigError: not UTF-8, not YAML, or not a mapping; names the line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{shown_as}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{shown_as}: larger than {MAX_BYTES:,} bytes; this is not a configuration")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{shown_as}:{line}: not UTF-8 text; save the file as UTF-8"]) from error
    node = parse_yaml(text, shown_as)
    if node.value is None:
        raise ConfigError([f"{shown_as}:1: the file is empty; start with 'extends: base/rendered.yaml'"])
    if not isinstance(node.value, Mapping):
        raise ConfigError([f"{node.origin}: must hold 'key: value' lines"])
    return node


def parse_yaml(text: str, file: str, *, line: int | None = None) -> Node:
    """The tree in a text.

    Args:
        text: YAML, at most one document.
        file: for origins and messages.
        line: the origin of every value when the text is not a file of its own (0 for the command line).

    Raises:
        ConfigError: not YAML, or YAML that is refused here; names the line.
    """
    composer = _Composer(file, line)
    try:
        return composer.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        # PyYAML gives a position in characters, or in bytes while it guesses the encoding of bytes.
        origin = composer.origin(text.count("\n", 0, error.position))
        raise ConfigError([f"{origin}: character U+{error.character:04X} is not allowed in YAML"]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        origin = composer.origin(mark.line if mark else 0)
        raise ConfigError([f"{origin}: not YAML: {_problem(error)}"]) from error
    except (ValueError, OverflowError) as error:
        # PyYAML passes escapes such as "\UFFFFFFFF" to chr() unchecked.
        raise ConfigError([f"{file}: not YAML: {error}"]) from error


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join((error.problem or "unreadable").split())
    if "'\\t'" in problem:
        return "a tab; indent with spaces"
    return f"{problem} {' '.join(error.context.split())}" if error.context else problem


class _Composer:
    """Events of PyYAML's parser -> nodes, with everything refused that a configuration does not need."""

    def __init__(self, file: str, line: int | None) -> None:
        self.file = file
        self.line = line

    def origin(self, line_from_zero: int) -> Origin:
        return Origin(self.file, line_from_zero + 1 if self.line is None else self.line)

    def origin_of(self, event: yaml.Event) -> Origin:
        return self.origin(event.start_mark.line if event.start_mark else 0)

    def document(self, events: Iterator[yaml.Event]) -> Node:
        node: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if node is not None:
                    raise self.refused(event, "a second document ('---'); a file holds one configuration")
                node = self.node(next(events), events, depth=0)
        return node or Node(None, self.origin(0))

    def node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self.refused(event, "anchors and aliases are not supported; share settings with 'extends:'")
        if getattr(event, "tag", None) is not None:
            raise self.refused(event, "tags ('!...') are not supported; write the plain value")
        if depth > MAX_DEPTH:
            raise self.refused(event, f"nested more than {MAX_DEPTH} deep")
        origin = self.origin_of(event)
        if isinstance(event, yaml.ScalarEvent):
            return Node(self.scalar(event), origin)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                items.append(self.node(event, events, depth + 1))
            return Node(tuple(items), origin)
        entries: dict[Key, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key, key_origin = self.key(event, entries), self.origin_of(event)
            entries[key] = replace(self.node(next(events), events, depth + 1), origin=key_origin)
        return Node(entries, origin)

    def key(self, event: yaml.Event, entries: Mapping[Key, Node]) -> Key:
        if not isinstance(event, yaml.ScalarEvent):
            raise self.refused(event, "a key must be a name or a whole number")
        key = self.node(event, iter(()), depth=0).value
        if key == "<<":
            raise self.refused(event, "merge keys ('<<') are not supported; share settings with 'extends:'")
        if isinstance(key, bool) or not isinstance(key, (str, int)):
            raise self.refused(event, f"a key must be a name or a whole number, got {event.value}")
        for earlier, node in entries.items():
            if str(earlier) == str(key):  # 1 and '1' would share one dotted path
                raise self.refused(event, f"duplicate key '{key}' (first on line {node.origin.line})")
        return key

    def scalar(self, event: yaml.ScalarEvent) -> Scalar:
        value = scalar(event.value) if event.style is None else str(event.value)
        if isinstance(value, str) and ("\0" in value or any("\ud800" <= c <= "\udfff" for c in value)):
            raise self.refused(event, "text holds a NUL or half a surrogate pair")
        return value

    def refused(self, event: yaml.Event, message: str) -> ConfigError:
        return ConfigError([f"{self.origin_of(event)}: {message}"])
