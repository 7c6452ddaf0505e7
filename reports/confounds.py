"""Confounds: everything but the loss in which compared groups differ, in words.

All settings of the resolved configuration are looked at, with what the run measured of itself (budget,
device, threads, code). Nothing has to be listed here to be found; what is listed has a better name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.results import RunRecord
from reports.groups import Group

NOT_RECORDED = "not recorded"

_NAMES = {
    "data": "Data",
    "data_checksum": "Faces and pairs (checksum)",
    "alignment": "Alignment of the training faces",
    "test_alignment": "Alignment of the test faces",
    "backbone": "Backbone",
    "backbone.embedding_dim": "Embedding size",
    "batch": "Batches",
    "optimizer": "Optimiser",
    "optimizer.learning_rate": "Learning rate",
    "optimizer.weight_decay": "Weight decay",
    "schedule": "Schedule of the learning rate",
    "augment": "Augmentation",
    "train": "Training",
    "train.epochs": "Epochs",
    "train.max_steps": "Limit of steps",
    "train.ema_decay": "Moving average of the weights",
    "train.precision": "Arithmetic",
    "evaluate": "Evaluation",
    "evaluate.metric": "Distance at test",
    "evaluate.flip": "Mirrored image at test",
    "evaluate.subtract_mean": "Mean subtraction at test",
    "init": "Warm start",
    "budget.images": "Budget: images forward and backward",
    "budget.images_forward_only": "Images forward only",
    "init.images": "Images that the weights at the start had been trained on",
    "environment.device_name": "Device",
    "environment.threads": "Threads of the CPU",
    "environment.processes": "Processes",
    "environment.batch_norm_images": "Images that batch normalisation sees together",
    "environment.tf32": "TF32 arithmetic",
    "environment.cudnn_benchmark": "Convolutions chosen by trial",
    "environment.deterministic": "Deterministic operations",
    "code.version": "Version of the code",
    "code.git_commit": "Commit of the code",
    "code.git_dirty": "Uncommitted changes in the code",
}
# the loss is what is compared; the others say where a run lies and runs, and what it is called
_LEFT_OUT = {"name", "description", "seed", "loss", "tracking"}
_RUNTIME_MEASURED = {"runtime"}  # asked for; the environment says what it came to


@dataclass(frozen=True)
class Confound:
    """One setting in which groups differ.

    Args:
        setting: dotted path.
        name: in words.
        values: label -> value as text, for every group.
    """

    setting: str
    name: str
    values: Mapping[str, str]

    def sentence(self) -> str:
        """In words: `Batches: random (size 128) for softmax; pk (people 32, images 4) for triplet.`."""
        groups_of: dict[str, list[str]] = {}
        for label, value in self.values.items():
            groups_of.setdefault(value, []).append(label)
        parts = [f"{value} for {listed(labels)}" for value, labels in groups_of.items()]
        return f"{self.name}: {'; '.join(parts)}."


def find_confounds(groups: Sequence[Group]) -> list[Confound]:
    """Every setting but the loss whose value is not one and the same in all runs of all groups."""
    settings = {group.label: [_settings(run.record) for run in group.runs] for group in groups}
    sections = {group.label: [_section_names(run.record) for run in group.runs] for group in groups}
    # a component of another name is one difference, not one an option
    whole = {
        key
        for key in {key for rows in sections.values() for row in rows for key in row}
        if len({row.get(key) for rows in sections.values() for row in rows}) > 1
    }
    keys = dict.fromkeys(key for rows in settings.values() for row in rows for key in row)
    confounds = []
    for key in dict.fromkeys(
        key.partition(".")[0] if key.partition(".")[0] in whole else key for key in keys
    ):
        if key in whole:
            values = {
                label: _one_of(_described(run.record.config.get(key)) for run in group.runs)
                for label, group in zip(settings, groups, strict=True)
            }
        else:
            values = {
                label: _one_of(row.get(key, NOT_RECORDED) for row in rows) for label, rows in settings.items()
            }
        if len(set(values.values())) > 1 or any(" or " in value for value in values.values()):
            confounds.append(Confound(key, name_of(key), values))
    return confounds


def loss_settings(groups: Sequence[Group]) -> dict[str, str]:
    """Label -> the loss with its options, as text."""
    return {group.label: _described(group.runs[0].record.config.get("loss")) for group in groups}


def name_of(key: str) -> str:
    """A setting in words."""
    if key in _NAMES:
        return _NAMES[key]
    section, _, option = key.partition(".")
    return f"{_NAMES.get(section, section)}: {option}" if option else section


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _settings(record: RunRecord) -> dict[str, str]:
    config = {key: value for key, value in record.config.items() if key not in _LEFT_OUT | _RUNTIME_MEASURED}
    environment, code = record.environment, record.code
    return {
        **{path: _text(value) for path, value in _leaves(config)},
        "data_checksum": record.data_checksum[:12],
        **({"alignment": str(record.alignment)} if record.alignment else {}),
        **{f"test_alignment.{name}": str(cut) for name, cut in record.test_alignment.items()},
        "budget.images": f"{record.budget.images:,}",
        "budget.images_forward_only": f"{record.budget.images_forward_only:,}",
        "init.images": f"{record.init.images:,}" if record.init else "0",
        "environment.device_name": environment.device_name,
        "environment.threads": str(environment.threads),
        "environment.processes": str(environment.processes),
        **{
            f"environment.{name}": _text(value)
            for name in ("batch_norm_images", "tf32", "cudnn_benchmark", "deterministic")
            if (value := getattr(environment, name)) is not None
        },
        **{f"package {name}": version for name, version in environment.packages.items()},
        "environment.python": environment.python,
        "code.version": code.version,
        "code.git_commit": code.git_commit[:12] if code.git_commit else NOT_RECORDED,
        "code.git_dirty": NOT_RECORDED if code.git_dirty is None else _text(code.git_dirty),
    }


def _section_names(record: RunRecord) -> dict[str, str]:
    return {
        key: str(value["name"])
        for key, value in record.config.items()
        if isinstance(value, dict) and "name" in value and key not in _LEFT_OUT
    }


def _described(section: Any) -> str:
    """`adamw (learning_rate 0.002, weight_decay 0.05)`."""
    if not isinstance(section, dict):
        return NOT_RECORDED if section is None else _text(section)
    if isinstance(terms := section.get("terms"), list):
        return " + ".join(_term(term) for term in terms)
    options = ", ".join(f"{path} {_text(value)}" for path, value in _leaves(section) if path != "name")
    name = _text(section.get("name", ""))
    return f"{name} ({options})" if options else name


def _term(term: Any) -> str:
    """`0.5 x softmax (bias yes)`, of a weighted sum of losses."""
    if not isinstance(term, dict):
        return _text(term)
    weight = term.get("weight", 1.0)
    factor = "" if weight == 1 else f"{_text(weight)} x "
    start, warmup = (float(term.get(key) or 0) for key in ("start_epoch", "warmup_epochs"))
    later = f" from epoch {start:g} on" if start else ""
    later += f", growing over {warmup:g} epochs" if warmup else ""
    return f"{factor}{_described(term.get('loss'))}{later}"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from _leaves(entry, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _one_of(values: Iterator[str]) -> str:
    return " or ".join(dict.fromkeys(values))


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "[" + ", ".join(_text(entry) for entry in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
