"""Python files named by `plugins:`; importing one registers the losses and backbones it decorates."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from bench.config.shipped import shown
from bench.errors import UserError

_imported: set[str] = set()  # by content: a copy in a run folder registers nothing a second time


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin as a run used it.

    Args:
        path: absolute.
        digest: hex sha256 of the file; this, not the path, enters the configuration's hash.
    """

    path: Path
    digest: str


def import_plugin(path: Path) -> Plugin:
    """Import a plugin once a process.

    Raises:
        UserError: no such file, or it raises; names the file, its line and the error.
    """
    path = path.resolve()
    try:
        source = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise UserError(f"{shown(path)}: cannot be read: {reason}") from error
    plugin = Plugin(path, hashlib.sha256(source).hexdigest())
    if plugin.digest not in _imported:
        _execute(plugin, source)
        _imported.add(plugin.digest)
    return plugin


def _execute(plugin: Plugin, source: bytes) -> None:
    name = f"bench_plugin_{plugin.digest[:16]}"
    spec = importlib.util.spec_from_file_location(name, plugin.path)
    if spec is None:
        raise UserError(f"{shown(plugin.path)}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before the code runs: dataclasses and pickle look their module up
    try:
        # The very bytes that were hashed, not what the file may hold by now.
        exec(compile(source, str(plugin.path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"{_place(plugin.path, error)}: {_summary(error)}") from error


def _place(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename == str(path) and error.lineno:
        return f"{shown(path)}:{error.lineno}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return f"{shown(path)}:{lines[-1]}" if lines else shown(path)


def _summary(error: BaseException) -> str:
    message = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    restart = (
        "; has it changed since this process imported it? Then restart"
        if "already registered" in message
        else ""
    )
    return f"{type(error).__name__}: {message}{restart}"
