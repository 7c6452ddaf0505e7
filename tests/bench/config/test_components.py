"""The real components through the schema: options that a file can give, defaults within their limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config import json_schema, load_config, shipped_configs
from bench.config.components import COMPONENTS
from bench.config.options import component_options, described_options
from bench.config.sections import COMPONENT_SECTIONS

EVERY = [(section, name) for section, registry in COMPONENTS.items() for name in registry.names()]


def test_every_component_section_has_a_registry() -> None:
    assert tuple(COMPONENTS) == COMPONENT_SECTIONS


@pytest.mark.parametrize(("section", "name"), EVERY)
def test_defaults_of_every_component_pass_their_own_limits(section: str, name: str, tmp_path: Path) -> None:
    chosen = {other: COMPONENTS[other].names()[0] for other in COMPONENT_SECTIONS} | {section: name}
    (tmp_path / "all.yaml").write_text("".join(f"{key}: {{name: {it}}}\n" for key, it in chosen.items()))

    config = load_config(tmp_path / "all.yaml")

    registry = COMPONENTS[section]
    nested = component_options(registry, name).nested
    options = getattr(config, section).options
    assert list(options) == list(registry.options(name))
    for option, (_, default) in registry.options(name).items():
        if option not in nested:
            assert options[option] == default
    (tmp_path / "again.yaml").write_text(config.to_yaml())
    assert load_config(tmp_path / "again.yaml").hash == config.hash


@pytest.mark.parametrize(("section", "name"), EVERY)
def test_every_component_says_in_one_line_what_it_is(section: str, name: str) -> None:
    assert COMPONENTS[section].summary(name).endswith(".")


@pytest.mark.parametrize(("section", "name"), EVERY)
def test_a_docstring_describes_no_option_that_does_not_exist(section: str, name: str) -> None:
    registry = COMPONENTS[section]
    described = described_options(registry.get(name))

    if described:  # positional arguments are described too; they come from the engine
        assert set(registry.options(name)) <= set(described)


@pytest.mark.parametrize("name", sorted(name for name in shipped_configs() if "studies/" not in name))
def test_every_shipped_config_is_valid(name: str) -> None:
    config = load_config(name)

    assert config.description
    assert config.name == name.rpartition("/")[2]


def test_the_losses_of_the_comparison_differ_in_nothing_but_loss_and_batch() -> None:
    softmax, center, triplet = (load_config(name).tree() for name in ("softmax", "center", "triplet"))

    assert {key for key in softmax if softmax[key] != center[key]} == {"name", "description", "loss"}
    assert {key for key in softmax if softmax[key] != triplet[key]} <= {
        "name",
        "description",
        "loss",
        "batch",
    }


def test_a_batch_of_triplet_holds_as_many_images_as_one_of_softmax() -> None:
    triplet = load_config("triplet").batch.options

    assert triplet["people"] * triplet["images"] == load_config("softmax").batch.options["size"]


def test_the_schema_of_the_real_components_can_be_made() -> None:
    assert set(json_schema()["properties"]) >= set(COMPONENT_SECTIONS)
