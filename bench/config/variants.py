"""Comparison files: a base configuration and named sets of overrides, each of which is one change.

description: why does triplet stall?
base: triplet_facenet
seeds: 3
variants:
  optimizer: ["optimizer={name: adamw, learning_rate: 1e-3}"]
  embedding: [backbone.embedding_dim=512]
together: [optimizer, embedding]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.shipped import find_config, shown
from bench.config.yaml_file import Node, Plain, child, plain, read_yaml
from bench.errors import ConfigError, did_you_mean

_KEYS = ("description", "base", "seeds", "variants")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


@dataclass(frozen=True)
class Comparison:
    """A base and what is changed in it.

    Args:
        description: one line.
        base: path or name of the configuration.
        seeds: how many runs of each.
        variants: name -> overrides, in the file's order.
        origins: name -> `file:line` of the variant.
    """

    description: str
    base: str
    seeds: int
    variants: Mapping[str, tuple[str, ...]]
    origins: Mapping[str, str]


def read_comparison(source: str) -> Comparison | None:
    """The comparison that a file holds; None when it is a configuration of one run.

    Args:
        source: a YAML file, or the name of a shipped one (`compare/why_triplet`).

    Raises:
        UserError: no such file.
        ConfigError: everything wrong with it, one line each.
    """
    path = find_config(source)
    tree = read_yaml(path, shown(path))
    if child(tree, "variants") is None and child(tree, "base") is None:
        return None
    return _Reader(tree, path).comparison()


class _Reader:
    """Collects the problems of one file."""

    def __init__(self, tree: Node, path: Path) -> None:
        self.tree, self.path = tree, path
        self.problems: list[str] = []

    def report(self, node: Node, key: str, message: str) -> None:
        self.problems.append(f"{node.origin}: {key}: {message}")

    def comparison(self) -> Comparison:
        assert isinstance(self.tree.value, Mapping)
        for key, node in self.tree.value.items():
            if key not in _KEYS:
                self.report(node, str(key), f"unknown key{did_you_mean(str(key), _KEYS)}")
        description = self._value("description", str, "text", "")
        base = self._value("base", str, "the path or name of a configuration", None)
        seeds = self._value("seeds", int, "a whole number > 0", 3)
        if isinstance(seeds, int) and seeds < 1:
            self.report(self._node("seeds"), "seeds", f"must be a whole number > 0, got {seeds}")
        variants, origins = self._variants()
        if self.problems:
            raise ConfigError(self.problems)
        return Comparison(description, self._found(base), seeds, variants, origins)

    def _found(self, base: str) -> str:
        """A base beside the file comes before a shipped one of that name."""
        for candidate in (self.path.parent / base, self.path.parent / f"{base}.yaml"):
            if candidate.is_file():
                return shown(candidate)
        return base

    def _node(self, key: str) -> Node:
        return child(self.tree, key) or self.tree

    def _value(self, key: str, kind: type, words: str, default: Any) -> Any:
        node = child(self.tree, key)
        if node is None:
            if default is None:
                self.report(self.tree, key, f"missing; must be {words}")
            return default
        value = plain(node)
        if not isinstance(value, kind) or isinstance(value, bool):
            self.report(node, key, f"must be {words}, got {_shown(value)}")
            return default
        return value

    def _variants(self) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
        node = child(self.tree, "variants")
        if node is None or not isinstance(node.value, Mapping) or not node.value:
            where = node or self.tree
            self.report(where, "variants", "must be names with lists of overrides: 'wide: [loss.alpha=0.5]'")
            return {}, {}
        variants, origins = {}, {}
        for key, entry in node.value.items():
            name = str(key)
            if not _NAME.fullmatch(name):
                self.report(entry, f"variants.{name}", "must be letters, digits, '.', '_', '+' or '-'")
                continue
            values = plain(entry)
            if not isinstance(values, tuple) or not values or not all(_is_override(each) for each in values):
                self.report(
                    entry,
                    f"variants.{name}",
                    f"must be a list of overrides, such as [loss.alpha=0.5], got {_shown(values)}",
                )
                continue
            variants[name] = tuple(str(value) for value in values)
            origins[name] = str(entry.origin)
        return variants, origins


def _is_override(value: Plain) -> bool:
    return isinstance(value, str) and re.match(r"[A-Za-z_][\w.:-]*=", value) is not None


def _shown(value: Plain) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
