"""Layers: what a file extends, the file, the command line; and where each value came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config import RunConfig, explain
from bench.errors import ConfigError

Load = Callable[..., RunConfig]


def problems(load: Load, *overrides: str, text: str | None = None, file: str = "toy.yaml") -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(*overrides, text=text, file=file)
    return caught.value.problems


def test_a_child_changes_one_option_and_keeps_the_others(load: Load) -> None:
    config = load(text="extends: toy.yaml\nloss: {alfa: 0.5}\n", file="child.yaml")

    assert config.loss.options == {"factor": 0.01, "alfa": 0.5, "convention": "facenet"}
    assert config.train.epochs == 2


def test_another_name_in_a_child_replaces_the_section(load: Load) -> None:
    config = load(text="extends: toy.yaml\nloss: {name: triplet, alpha: 0.3}\n", file="child.yaml")

    assert config.loss.name == "triplet"
    assert "factor" not in config.loss.options


def test_another_name_on_the_command_line_replaces_the_section_in_any_order(load: Load) -> None:
    first = load("loss.name=triplet", "loss.alpha=0.3")
    second = load("loss.alpha=0.3", "loss.name=triplet")

    assert first.loss.name == "triplet"
    assert first.loss == second.loss
    assert first.loss.options["alpha"] == 0.3


def test_the_same_name_again_keeps_the_options(load: Load) -> None:
    assert load("loss.factor=0.5", "loss.name=center").loss.options["factor"] == 0.5


def test_the_later_of_several_parents_wins_and_the_file_wins_over_both(load: Load, folder: Path) -> None:
    (folder / "one.yaml").write_text("train: {epochs: 3, log_every: 5, clip_norm: 1}\n")
    (folder / "two.yaml").write_text("train: {epochs: 4, log_every: 6}\n")

    config = load(text="extends: [toy.yaml, one.yaml, two.yaml]\ntrain: {epochs: 5}\n", file="child.yaml")

    assert (config.train.epochs, config.train.log_every, config.train.clip_norm) == (5, 6, 1)


def test_a_schedule_by_epoch_is_replaced_whole_by_a_child(load: Load, folder: Path) -> None:
    base = "extends: toy.yaml\nschedule: {name: step, rates: {0: 0.1, 150: 0.01}}\n"
    (folder / "base.yaml").write_text(base)

    config = load(text="extends: base.yaml\nschedule: {rates: {0: 0.2}}\n", file="child.yaml")

    assert config.schedule.options == {"rates": {0: 0.2}}


def test_one_entry_of_a_schedule_can_be_overridden(load: Load) -> None:
    config = load("schedule={name: step, rates: {0: 0.1, 150: 0.01}}", "schedule.rates.150=0.02")

    assert config.schedule.options == {"rates": {0: 0.1, 150: 0.02}}


def test_one_entry_of_a_list_can_be_overridden(load: Load) -> None:
    config = load("evaluate.fars=[1e-2, 1e-3]", "evaluate.fars.1=1e-4")

    assert config.evaluate.fars == (1e-2, 1e-4)


def test_name_and_description_are_not_inherited(load: Load, folder: Path) -> None:
    (folder / "parent.yaml").write_text("extends: toy.yaml\nname: parent\ndescription: of the parent\n")

    config = load(text="extends: parent.yaml\n", file="child.yaml")

    assert (config.name, config.description) == ("child", "")


def test_a_parent_is_found_beside_the_file_that_names_it(load: Load, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "part.yaml").write_text("train: {epochs: 7}\n")
    (folder / "sub" / "middle.yaml").write_text("extends: [../toy.yaml, part]\n")

    assert load(text="extends: sub/middle.yaml\n", file="child.yaml").train.epochs == 7


def test_a_circle_of_parents_is_named(load: Load, folder: Path) -> None:
    (folder / "a.yaml").write_text("\nextends: b.yaml\n")
    (folder / "b.yaml").write_text("extends: a.yaml\n")

    assert problems(load, file="a.yaml") == ("b.yaml:1: extends: a circle: a.yaml -> b.yaml -> a.yaml",)


def test_a_missing_parent_is_named_with_the_nearest_shipped_one(load: Load) -> None:
    assert problems(load, text="seed: 1\nextends: base/rendred.yaml\n") == (
        "toy.yaml:2: extends: base/rendred.yaml: no such file, here or among the shipped ones; "
        "did you mean 'base/rendered.yaml'?",
    )


@pytest.mark.parametrize("value", ["5", "{a: b}", "[1]", "''"])
def test_extends_takes_paths_only(load: Load, value: str) -> None:
    assert problems(load, text=f"extends: {value}\n") == (
        "toy.yaml:1: extends: must be a path or a list of paths",
    )


def test_each_value_says_where_it_comes_from(load: Load) -> None:
    config = load("train.epochs=3", text="extends: toy.yaml\nseed: 4\nloss: {alfa: 0.5}\n", file="child.yaml")
    rows = {row.path: (row.value, row.origin) for row in explain(config)}

    assert rows["train.epochs"] == (3.0, "command line")
    assert rows["seed"] == (4, "child.yaml:2")
    assert rows["loss.alfa"] == (0.5, "child.yaml:3")
    assert rows["loss.factor"] == (0.01, "toy.yaml:4")
    assert rows["loss.convention"] == ("facenet", "default")
    assert rows.keys() == config.flat().keys()


def test_explained_values_are_spelled_as_in_a_file(load: Load) -> None:
    texts = {row.path: row.text for row in explain(load())}

    assert texts["train.clip_norm"] == "null"
    assert texts["augment.flip"] == "true"
    assert texts["loss.name"] == "center"
    assert texts["evaluate.fars"] == "[0.001]"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.margin", "'loss.margin': not an override; write path=value, such as loss.margin=0.3"),
        ("=3", "'': not an override; write path=value, such as loss.margin=0.3"),
        ("loss..x=3", "'loss..x': not an override; write path=value, such as loss.margin=0.3"),
        ("--seed=3", "'--seed': not an override; write path=value, such as loss.margin=0.3"),
        ("loss.factor=", "loss.factor: no value after '='; write null for none (command line)"),
        ("extends=a.yaml", "extends: only a file can extend another (command line)"),
        (
            "evaluate.fars=[1e-3",
            "evaluate.fars: not YAML: expected ',' or ']', but got '<stream end>' "
            "while parsing a flow sequence (command line)",
        ),
        ("train={epochs: 1, epochs: 2}", "train: duplicate key 'epochs' (first on line 0) (command line)"),
        ("loss.factor=-1", "loss.factor: must be >= 0, got -1 (command line)"),
        ("loss.factr=1", "loss.factr: unknown key; did you mean 'factor'? (command line)"),
        ("los.factor=1", "los: unknown key; did you mean 'loss'? (command line)"),
        ("seed.x=1", "seed: must be a whole number >= 0, got {x: 1} (command line)"),
        ("description.0=1", "description.0: 'description' is neither a section nor a list (command line)"),
        ("evaluate.fars=[1e-3]", None),
        ("tracking.uri=http://host:5000/#/a", None),
    ],
)
def test_overrides_are_checked_like_files(load: Load, override: str, message: str | None) -> None:
    if message is None:
        load(override)
    else:
        assert problems(load, override) == (message,)


def test_an_index_beyond_a_list_is_refused(load: Load) -> None:
    assert problems(load, "evaluate.fars=[0.1]", "evaluate.fars.1=0.2") == (
        "evaluate.fars.1: 'evaluate.fars' is a list of 1, counted from 0 (command line)",
    )


@pytest.mark.parametrize("value", ["a: b", "x # y", "*z", "&a", "%d", "@home", "- a", "yes", "a=b"])
def test_a_plain_override_needs_no_yaml_quotes(load: Load, value: str) -> None:
    assert load(f"description={value}").description == value


def test_an_override_reads_numbers_as_files_do(load: Load) -> None:
    assert load("optimizer.learning_rate=3e-4").optimizer.options["learning_rate"] == 3e-4
    assert load("description='3e-4'").description == "3e-4"
