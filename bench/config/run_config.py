"""What a run was asked to do: frozen, comparable by hash, and writable as a file that gives it back."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from bench.config.nested import as_plain
from bench.config.plugins import Plugin
from bench.config.redaction import redact_uri
from bench.config.sections import (
    COMPONENT_SECTIONS,
    STATIC_SECTIONS,
    AugmentConfig,
    EvaluateConfig,
    InitConfig,
    RuntimeConfig,
    TrackingConfig,
    TrainConfig,
)
from bench.config.yaml_file import Key, Plain, Scalar
from bench.config.yaml_text import yaml_document, yaml_inline

NOT_HASHED = ("name", "description", "seed", "runtime", "tracking")
# Settings of `train` that came later, with defaults that do what was done before: at these they are left
# out, so that runs from before keep their hash.
_HASHED_WHEN_SET = ("micro_batch", "compile", "sync_batch_norm")
# Options of losses, those inside others too, for the same reason.
_LOSS_OPTIONS_HASHED_WHEN_SET = {"sample_rate": 1.0}


@dataclass(frozen=True, slots=True)
class Component:
    """A registered component and its validated options.

    Options that are components or dataclasses are held as such, ready for the factory; `tree` spells them as
    a file does.
    """

    name: str
    _options: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def options(self) -> Mapping[str, Any]:
        """Keyword options, ready to splat into the registered factory. A copy, read-only."""
        return MappingProxyType(copy.deepcopy(self._options))

    def tree(self) -> dict[str, Plain]:
        """The section as a file would hold it."""
        values: dict[str, Plain] = {"name": self.name}
        return values | {option: as_plain(value) for option, value in self._options.items()}


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One experiment, every default filled in. `load_config` makes it.

    Args:
        plugins: files that were imported, with the digest of their content.
        origins: dotted path -> where the value was written; paths not in it are defaults.
    """

    name: str
    description: str
    seed: int
    plugins: tuple[Plugin, ...]
    data: Component
    backbone: Component
    loss: Component
    batch: Component
    optimizer: Component
    schedule: Component
    init: InitConfig
    augment: AugmentConfig
    train: TrainConfig
    evaluate: EvaluateConfig
    runtime: RuntimeConfig
    tracking: TrackingConfig
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def hash(self) -> str:
        """Hex sha256 of all that decides the outcome but the seed: equal hashes ask for the same experiment.

        Left out: name, description, seed, runtime, tracking. Plugins, and the weights of a warm start or of a
        backbone, enter by content, not by path.
        """
        values: dict[str, Any] = {key: value for key, value in self.tree().items() if key not in NOT_HASHED}
        values["init"] = self.init.model_dump(exclude={"source"})
        values["backbone"] = _by_content(values["backbone"])
        values["loss"] = _without_unset(values["loss"])
        defaults = TrainConfig()
        unset = {name for name in _HASHED_WHEN_SET if getattr(self.train, name) == getattr(defaults, name)}
        values["train"] = self.train.model_dump(exclude=unset)
        values["plugins"] = tuple(plugin.digest for plugin in self.plugins)
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def tree(self) -> dict[str, Plain]:
        """Everything as nested plain values in canonical order, secrets redacted."""
        return {
            "name": self.name,
            "description": self.description,
            "seed": self.seed,
            "plugins": tuple(str(plugin.path) for plugin in self.plugins),
            **{section: getattr(self, section).tree() for section in COMPONENT_SECTIONS},
            **{
                section: _redacted(getattr(self, section).model_dump(by_alias=True))
                for section in STATIC_SECTIONS
            },
        }

    def to_yaml(self) -> str:
        """A file that loads to the same hash; `extends` and overrides are folded in, secrets redacted."""
        return yaml_document(self.tree())

    def flat(self) -> dict[str, Scalar]:
        """Dotted path -> value, as parameters of a tracking server; a list is one line of YAML."""
        return {path: leaf for key, value in self.tree().items() for path, leaf in _leaves(key, value)}


def _by_content(backbone: dict[str, Plain]) -> dict[str, Plain]:
    """Weights of a file by its checksum, where it is known."""
    without = "weights_sha256" if backbone.get("weights_sha256") is None else "weights"
    return {option: value for option, value in backbone.items() if option != without}


def _without_unset(loss: Plain) -> Plain:
    """A loss, and whatever is nested in it, without the later options at their defaults."""
    if isinstance(loss, dict):
        unset = _LOSS_OPTIONS_HASHED_WHEN_SET.items()
        return {key: _without_unset(value) for key, value in loss.items() if (key, value) not in unset}
    return tuple(map(_without_unset, loss)) if isinstance(loss, tuple) else loss


def _redacted(values: dict[str, Plain]) -> dict[Key, Plain]:
    return {key: redact_uri(value) if isinstance(value, str) else value for key, value in values.items()}


def _leaves(path: str, value: Plain) -> Iterator[tuple[str, Scalar]]:
    entries: Iterable[tuple[Key, Plain]] = ()
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        entries = value.items()
    elif isinstance(value, tuple) and any(isinstance(entry, dict) for entry in value):
        entries = enumerate(value)
    elif isinstance(value, (dict, tuple)):
        yield path, yaml_inline(value)
    else:
        yield path, value
    for key, entry in entries:
        yield from _leaves(f"{path}.{key}", entry)


class Explained(NamedTuple):
    """A value and where it comes from."""

    path: str
    value: Scalar
    origin: str

    @property
    def text(self) -> str:
        """The value as a file would spell it: `null`, `true`, `1.0e-05`."""
        return self.value if isinstance(self.value, str) else yaml_inline(self.value)


def explain(config: RunConfig) -> list[Explained]:
    """Every value with its origin: `file:line`, `command line` or `default`."""
    return [
        Explained(path, value, config.origins.get(path, "default")) for path, value in config.flat().items()
    ]
