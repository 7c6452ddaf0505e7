"""What MLflow is told about a run, read from its folder: parameters, tags, final metrics, artifacts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from bench.errors import BenchError, one_line
from bench.results import RunFolder, RunRecord, RunState

# MLflow's limits
_MAX_KEY = 250
_MAX_PARAM = 6000
_MAX_TAG = 5000
_CUT = " ... (cut; whole in config.yaml)"


def config(path: Path) -> dict[str, Any]:
    """The resolved configuration; empty before it is written.

    Raises:
        BenchError: the file is damaged.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BenchError(f"{path}: not YAML: {one_line(error)}") from None
    if not isinstance(document, dict):
        raise BenchError(f"{path}: not a mapping of settings")
    return document


def params(path: Path) -> dict[str, str]:
    """The configuration flat: dotted path -> the value as one would write it in an override.

    Values beyond 6000 characters are cut; config.yaml among the artifacts has them whole.
    """
    leaves = _leaves(config(path))
    return {_allowed_key(key): _cut(_as_text(value), _MAX_PARAM, _CUT) for key, value in leaves}


def tags(folder: RunFolder, state: RunState, record: RunRecord | None) -> dict[str, str]:
    """Who, where and on what: from state.json, environment.json (early), record.json (at the end)."""
    known = {
        "state": state.state,
        "seed": str(state.seed),
        "config_hash": state.config_hash,
        "host": state.host,
        "run_folder": str(folder.path.absolute()),
    }
    if state.error:
        known["error"] = state.error
    known |= folder.tags().tags
    known |= _environment(folder.environment)
    if record is not None:
        known |= _record_tags(record)
    if "git_commit" in known:
        known["mlflow.source.git.commit"] = known["git_commit"]
    return {_allowed_key(key): _cut(value, _MAX_TAG, " ...") for key, value in known.items()}


def artifacts(folder: RunFolder, *, ended: bool, with_checkpoint: bool) -> Iterator[tuple[Path, str | None]]:
    """Files to deliver, each with the artifact folder it goes to."""
    if folder.config.exists():
        yield folder.config, None
    if not ended:
        return
    # the last two are of a study
    documents = [folder.path / name for name in ("record.json", "report.md", "report.html")]
    for path in (*documents, folder.pairs, folder.thresholds):
        if path.exists():
            yield path, None
    for path in _files(folder.figures):
        yield path, "figures"
    if with_checkpoint:
        yield from ((path, "checkpoints") for path in _checkpoints(folder.checkpoints))


def metric_name(name: str) -> str:
    """The name with every character that MLflow refuses replaced by `_`."""
    return _allowed_key(name)


def milliseconds(time: str) -> int:
    """Unix time of an ISO 8601 time."""
    return int(datetime.fromisoformat(time).timestamp() * 1000)


def _record_tags(record: RunRecord) -> dict[str, str]:
    known = {
        "data": record.data_name,
        "data_checksum": record.data_checksum,
        "device": record.environment.device,
        "device_name": record.environment.device_name,
        "threads": str(record.environment.threads),
        "code_version": record.code.version,
    }
    if record.code.git_commit is not None:
        known["git_commit"] = record.code.git_commit
        known["git_dirty"] = _as_text(record.code.git_dirty)
    if record.resumed_from_step is not None:
        known["resumed_from_step"] = str(record.resumed_from_step)
    if record.description:
        known["mlflow.note.content"] = record.description
    return known


def _environment(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_bytes())
        # a number with a fraction is a measurement, not a label
        return {
            key: _as_text(value)
            for key, value in _leaves(document)
            if value is not None and not isinstance(value, float)
        }
    except FileNotFoundError:
        return {}
    except ValueError:
        raise BenchError(f"{path}: not JSON; the run's tags are in it") from None


def _leaves(document: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(document, dict) and document and all(isinstance(key, str) for key in document):
        for key, value in document.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    elif path:
        yield path, document


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1_000_000)
    return text.removesuffix("...\n").strip()  # the end mark of a document that is one scalar


def _allowed_key(name: str) -> str:
    # letters, digits, `_ - . space : /`, as a relative path that does not climb
    allowed = re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)
    parts = [part for part in allowed.split("/") if part not in ("", ".", "..")]
    return "/".join(parts)[:_MAX_KEY] or "_"


def _cut(text: str, limit: int, mark: str) -> str:
    return text if len(text) <= limit else text[: limit - len(mark)] + mark


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))


def _checkpoints(folder: Path) -> list[Path]:
    """The last checkpoint (`step-<number>.pt`), and the best where one is kept."""
    return sorted(folder.glob("step-*.pt"))[-1:] + sorted(folder.glob("best*.pt"))
