"""Values -> YAML text that `yaml_file` reads back as the same values."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import yaml

from bench.config.yaml_file import Key, Plain, scalar

_BREAKS = frozenset("\r\x85\u2028\u2029")


def yaml_document(values: Mapping[str, Plain]) -> str:
    """A file: sections as blocks, lists and mappings of numbers on one line, order kept."""
    return _dump(dict(values), flow=False)


def yaml_inline(value: Plain) -> str:
    """A value on one line, as one would type it: `0.3`, `null`, `[1, 2]`, `{0: 0.1, 150: 0.01}`."""
    if isinstance(value, (dict, tuple)):
        return _dump(value, flow=True).rstrip("\n")
    # PyYAML marks the end of a document that is a bare scalar.
    return _dump((value,), flow=True).strip()[1:-1]


class _Dumper(yaml.SafeDumper):
    """Quotes by our reading of plain scalars, and never writes anchors, which our reader refuses."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    style = None if scalar(text) == text else "'"  # `1e-3` is text to PyYAML's resolver and a number to ours
    if _BREAKS.intersection(text):
        style = '"'  # the other styles fold these into a newline
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _list(dumper: _Dumper, items: tuple[Plain, ...]) -> yaml.Node:
    nested = any(isinstance(item, dict) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=None if nested else True)


def _mapping(dumper: _Dumper, entries: dict[Key, Plain]) -> yaml.Node:
    by_number = bool(entries) and all(isinstance(key, int) for key in entries)
    return dumper.represent_mapping(
        "tag:yaml.org,2002:map", entries.items(), flow_style=True if by_number or not entries else None
    )


_Dumper.add_representer(str, _text)
_Dumper.add_representer(tuple, _list)
_Dumper.add_representer(dict, _mapping)


def _dump(value: object, *, flow: bool) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=sys.maxsize
    )
    return text
