"""From a path or name, and overrides, to a `RunConfig`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.config.check import check
from bench.config.layers import override, read_layers
from bench.config.run_config import RunConfig
from bench.config.shipped import find_config
from bench.config.yaml_file import parse_yaml
from losses.registry import Registry


def load_config(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    components: Mapping[str, Registry[Any]] | None = None,
) -> RunConfig:
    """Read, extend, override and check a configuration.

    Args:
        source: a YAML file, or the name of a shipped configuration (`center`).
        overrides: `path=value`, such as `loss.alpha=0.3`; they win over the file.
        components: section -> registry, in place of the registered losses, backbones and so on.

    Raises:
        UserError: no such configuration, or unreadable.
        ConfigError: everything wrong with it, one line each.
    """
    if components is None:
        from bench.config.components import COMPONENTS  # imports every backbone and data set

        components = COMPONENTS
    path = find_config(source)
    tree = override(read_layers(path), overrides)
    return check(tree, name_of(path), components)


def parse_config(text: str, origin: str) -> RunConfig:
    """The configuration that `RunConfig.to_yaml` wrote.

    Args:
        text: what it wrote.
        origin: where the text lies, for messages.

    Raises:
        ConfigError: everything wrong with it, one line each.
    """
    from bench.config.components import COMPONENTS

    return check(parse_yaml(text, origin), name_of(Path(origin)), COMPONENTS)


def name_of(path: Path) -> str:
    """The file's stem as the name of a folder."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._+-]+", "-", path.stem).strip("-")[:80] or "run"
