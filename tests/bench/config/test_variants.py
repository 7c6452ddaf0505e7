"""Comparison files: typed, and every mistake at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config import load_config, shipped_configs
from bench.config.shipped import COMPARISONS, shipped_folder
from bench.config.variants import read_comparison
from bench.errors import ConfigError

GOOD = """\
description: two changes
base: center
seeds: 2
variants:
  wide: [backbone.embedding_dim=256]
  slow: [optimizer.learning_rate=1e-5, train.epochs=3]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems(text: str) -> list[str]:
    Path("cmp.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_comparison("cmp.yaml")
    return str(caught.value).splitlines()


def test_variants_keep_their_order_and_their_lines() -> None:
    Path("cmp.yaml").write_text(GOOD)
    found = read_comparison("cmp.yaml")
    assert found is not None
    assert (found.description, found.base, found.seeds) == ("two changes", "center", 2)
    assert list(found.variants.items()) == [
        ("wide", ("backbone.embedding_dim=256",)),
        ("slow", ("optimizer.learning_rate=1e-5", "train.epochs=3")),
    ]
    assert found.origins["slow"] == "cmp.yaml:6"


def test_a_base_beside_the_file_comes_first() -> None:
    Path("sub").mkdir()
    Path("sub/center.yaml").write_text("extends: base/rendered.yaml\n")
    Path("sub/cmp.yaml").write_text(GOOD)
    found = read_comparison("sub/cmp.yaml")
    assert found is not None
    assert found.base == "sub/center.yaml"


def test_a_configuration_of_one_run_is_none() -> None:
    assert read_comparison("center") is None


def test_all_mistakes_are_told_at_once_each_with_its_line() -> None:
    text = "bass: center\nseeds: 0\nvariants:\n  wide: alpha=1\n  a b: [loss.alpha=1]\n  off: [nothing]\n"
    assert problems(text) == [
        "cmp.yaml:1: bass: unknown key; did you mean 'base'?",
        "cmp.yaml:1: base: missing; must be the path or name of a configuration",
        "cmp.yaml:2: seeds: must be a whole number > 0, got 0",
        "cmp.yaml:4: variants.wide: must be a list of overrides, such as [loss.alpha=0.5], got 'alpha=1'",
        "cmp.yaml:5: variants.a b: must be letters, digits, '.', '_', '+' or '-'",
        "cmp.yaml:6: variants.off: must be a list of overrides, such as [loss.alpha=0.5], got ('nothing',)",
    ]


def test_a_comparison_needs_variants() -> None:
    assert problems("base: center\n") == [
        "cmp.yaml:1: variants: must be names with lists of overrides: 'wide: [loss.alpha=0.5]'"
    ]


@pytest.mark.parametrize(
    "path", sorted((shipped_folder() / COMPARISONS).glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_variant_of_a_shipped_comparison_is_valid_and_another_experiment(path: Path) -> None:
    found = read_comparison(str(path))
    assert found is not None
    configs = [load_config(found.base, changes) for changes in ((), *found.variants.values())]
    assert len({config.hash for config in configs}) == len(configs)


def test_why_triplet_gives_every_variant_the_same_images() -> None:
    found = read_comparison("compare/why_triplet")
    assert found is not None
    images = []
    for changes in ((), *found.variants.values()):
        config = load_config(found.base, changes)
        batch, size = config.batch.options, config.train.epoch_size
        assert size is not None
        images.append(
            size * (3 * batch["triplets"] if "triplets" in batch else batch["people"] * batch["images"])
        )
    # Every fourth or so of a small selection's batches is not full: as many images took 780 steps, measured.
    images[1 + list(found.variants).index("fresh_selection")] *= 666 / 780
    assert max(images) / min(images) < 1.01


def test_comparisons_are_not_listed_as_configurations() -> None:
    assert not any(name.startswith("compare") for name in shipped_configs())
