"""The options of every registered component, for completion: asked of the code once, then cached."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import bench

Names = Mapping[str, Mapping[str, list[str]]]
"""Section -> name of the component -> its options."""


def option_names() -> Names:
    """Of all components but those of plugins and of other packages' families.

    Asking means importing torch, which takes seconds; the answer is kept until a file of ours changes.
    """
    from bench.location import cache_folder

    path = cache_folder() / f"completion-{_version()}.json"
    with suppress(OSError, ValueError):
        known: Names = json.loads(path.read_text())
        return known
    from bench.config.components import COMPONENTS
    from bench.results import write_json

    names = {
        section: {name: list(registry.options(name)) for name in registry.names()}
        for section, registry in COMPONENTS.items()
    }
    with suppress(OSError):  # a cache that cannot be written makes the next tab as slow as this one
        for old in path.parent.glob("completion-*.json"):
            old.unlink(missing_ok=True)
        write_json(path, names)
    return names


def _version() -> str:
    """Of the code: names, sizes and times of its files."""
    root = Path(bench.__file__).parents[1]
    digest = hashlib.sha256()
    for package in ("bench", "losses"):
        for path in sorted((root / package).rglob("*.py")):
            status = path.stat()
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
