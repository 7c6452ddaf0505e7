"""What a user reads when a configuration is wrong: rule + value + remedy, with file and line, all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest

from bench.config import RunConfig, load_config
from bench.errors import ConfigError
from losses.registry import Registry
from losses.types import Bounds, Positive

Load = Callable[..., RunConfig]

BAD = """\
extends: toy.yaml
los: {name: x}
loss:
  name: triplet
  alpha: -0.2
  mining: semihard
  margn: 3
  minig: all
  squared: yes
  angle: 28.6
  copy: 0
  weights: 3
seed: true
data: faces
backbone: {name: tinny}
schedule: {name: step, rates: {0: 0.1, x: 3, 5: -1}}
optimizer: {name: sgd, learning_rate: .nan, nesterov: 1}
batch: {size: 3.5}
train: {5: 3, epochs: "0.1", precision: half, clip_norm: -1}
evaluate: {fars: [0.1, 0, x], flip: summ}
runtime: {device: gpu, threads: 0}
tracking:
name: "a/b"
"""

EXPECTED = """\
bad.yaml:2: los: unknown key; did you mean 'loss'?
bad.yaml:5: loss.alpha: must be > 0, got -0.2
bad.yaml:6: loss.mining: must be one of 'all', 'hard', 'semi_hard', got 'semihard'; did you mean 'semi_hard'?
bad.yaml:7: loss.margn: unknown key; 'triplet' takes alpha, angle, copy, mining, squared, weights
bad.yaml:8: loss.minig: unknown key; did you mean 'mining'?
bad.yaml:9: loss.squared: must be true or false, got 'yes'
bad.yaml:10: loss.angle: must be >= 0 and <= 3.14159 (radians), got 28.6
bad.yaml:11: loss.copy: must be a whole number >= 1 or 'auto', got 0
bad.yaml:12: loss.weights: must be a list, each entry a number > 0, got 3
bad.yaml:13: seed: must be a whole number >= 0, got true
bad.yaml:14: data: must be a section: 'data: {name: faces}', or data.name=faces as an override
bad.yaml:15: backbone.name: unknown backbone 'tinny'; did you mean 'tiny'?
bad.yaml:16: schedule.rates.5: must be > 0, got -1
bad.yaml:16: schedule.rates.x: the key must be a whole number, got 'x'
bad.yaml:17: optimizer.learning_rate: must be a finite number, got .nan
bad.yaml:17: optimizer.nesterov: must be true or false, got 1
bad.yaml:18: batch.size: must be a whole number >= 1, got 3.5
bad.yaml:19: train.5: unknown key
bad.yaml:19: train.clip_norm: must be > 0, got -1
bad.yaml:19: train.epochs: must be a number > 0, got '0.1'
bad.yaml:19: train.precision: must be one of 'float32', 'bf16', 'fp16', 'float64', got 'half'
bad.yaml:20: evaluate.fars.1: must be > 0 and < 1, got 0
bad.yaml:20: evaluate.fars.2: must be a number > 0 and < 1, got 'x'
bad.yaml:20: evaluate.flip: must be one of 'none', 'sum', 'concat', got 'summ'; did you mean 'sum'?
bad.yaml:21: runtime.device: must be auto, cpu, cuda, cuda:N or mps, got 'gpu'
bad.yaml:21: runtime.threads: must be 'auto' or a whole number > 0, got 0
bad.yaml:22: tracking: must be a section of 'key: value' lines, got null
bad.yaml:23: name: must be at most 80 letters, digits, '.', '_', '+' or '-' (it names a folder), got 'a/b'
augment.erase: must be >= 0 and <= 1, got 3 (command line)
foo: unknown key (command line)
"""


def test_all_problems_come_at_once_by_file_and_line_in_words(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load("augment.erase=3", "foo=3", text=BAD, file="bad.yaml")

    assert str(caught.value) == EXPECTED.rstrip("\n")
    assert caught.value.exit_code == 2


def test_problems_of_a_parent_name_the_parent(load: Load, folder: Path) -> None:
    (folder / "base.yaml").write_text("extends: toy.yaml\ntrain: {epochs: 0}\n")

    with pytest.raises(ConfigError) as caught:
        load(text="extends: base.yaml\nseed: -1\n", file="child.yaml")

    assert caught.value.problems == (
        "base.yaml:2: train.epochs: must be > 0, got 0",
        "child.yaml:2: seed: must be >= 0, got -1",
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("loss: {factor: 0.1}", "loss.name: missing; one of center, triplet"),
        ("loss: {name: 5}", "loss.name: must be one of center, triplet, got 5"),
        ("loss: {name: xyz}", "loss.name: unknown loss 'xyz'; there are center, triplet"),
        ("loss: [center]", "loss: must be a section with a name (center, triplet), got [center]"),
        ("loss:", "loss: must be a section with a name (center, triplet), got null"),
        ("loss: {name: center, factor: 1e400}", "loss.factor: must be a finite number, got .inf"),
        ("loss: {name: center, factor: 1_0}", "loss.factor: must be a number >= 0, got '1_0'"),
        ("loss: {name: center, factor: true}", "loss.factor: must be a number >= 0, got true"),
        ("loss: {name: center, factor: null}", "loss.factor: must be a number >= 0, got null"),
        ("seed: 1.0", "seed: must be a whole number >= 0, got 1.0"),
        ("seed: 18446744073709551616", "seed: must be a whole number >= 0, got 1.8446744073709552e+19"),
        (
            "name: ''",
            "name: must be at most 80 letters, digits, '.', '_', '+' or '-' (it names a folder), got ''",
        ),
        ("runtime: {runs: ''}", "runtime.runs: must be a non-empty text, got ''"),
        ("description: 5", "description: must be text, got 5"),
        (
            "evaluate: {fars: []}",
            "evaluate.fars: must be a non-empty list, each entry a number > 0 and < 1, got []",
        ),
        ("train: 5", "train: must be a section of 'key: value' lines, got 5"),
    ],
)
def test_message(load: Load, valid: str, line: str, problem: str) -> None:
    section = line.partition(":")[0]
    kept = "".join(f"{part}\n" for part in valid.splitlines() if part.partition(":")[0] != section)

    with pytest.raises(ConfigError) as caught:
        load(text=f"{line}\n{kept}")

    assert caught.value.problems == (f"toy.yaml:1: {problem}",)


def test_a_missing_section_says_what_to_add(load: Load, valid: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text="\n" + valid.replace("schedule: {name: constant}\n", ""))

    assert caught.value.problems == (
        "toy.yaml:2: schedule: missing; add 'schedule: {name: ...}' (constant, step), "
        "or 'extends: base/rendered.yaml'",
    )


def test_long_values_are_cut_and_secrets_left_out(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"loss.factor={'x' * 500}", "seed=http://ada:lace@db/x")

    assert str(caught.value) == (
        f"loss.factor: must be a number >= 0, got '{'x' * 56}... (command line)\n"
        "seed: must be a whole number >= 0, got 'http://***@db/x' (command line)"
    )


def of_registry_type(*, inner: Registry[Any] | None = None) -> None:
    """Takes what YAML has not."""


def of_unknown_type(*, inner: Nowhere = 3) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Its author forgot an import."""


def with_limits_on_text(*, inner: Annotated[str, Bounds(gt=0)] = "x") -> None:
    """Its author mixed two types up."""


def with_an_option_called_name(*, name: str = "x") -> None:
    """Hides the key that chose it."""


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (
            of_registry_type,
            "an option has a type no file can give: Unable to generate pydantic-core schema for",
        ),
        (of_unknown_type, "an option has a type no file can give: name 'Nowhere' is not defined"),
        (
            with_limits_on_text,
            "an option has a type no file can give: limits on str, no number",
        ),
        (with_an_option_called_name, "an option cannot be called 'name'; rename it"),
    ],
)
def test_an_option_that_no_file_could_give_blames_the_component(
    folder: Path, components: Mapping[str, Registry[Any]], factory: Callable[..., None], problem: str
) -> None:
    losses: Registry[Any] = Registry("loss")
    losses.register(factory)

    with pytest.raises(ConfigError) as caught:
        load_config("toy.yaml", [f"loss.name={factory.__name__}"], components={**components, "loss": losses})

    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"loss.name: loss '{factory.__name__}': {problem}")


def test_a_default_outside_its_own_limits_is_reported(
    folder: Path, components: Mapping[str, Registry[Any]]
) -> None:
    losses: Registry[Any] = Registry("loss")

    @losses.register
    def odd(*, alpha: Positive = -1.0) -> None:
        """Its author made a mistake."""

    with pytest.raises(ConfigError, match=r"^loss\.alpha: must be > 0, got -1\.0, its default"):
        load_config("toy.yaml", ["loss.name=odd"], components={**components, "loss": losses})
