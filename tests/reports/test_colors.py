"""Groups look different from each other, and a loss like itself."""

from __future__ import annotations

from reports.colors import color_of, styles
from reports.groups import make_groups
from reports.records import read_runs

from .conftest import Make, config_of


def test_groups_of_different_losses_have_their_colours(make: Make) -> None:
    for name in ("softmax", "center"):
        make(name, config=config_of(name, loss={"name": name}))
    runs = make("triplet", config=config_of("triplet", loss={"name": "triplet"}))
    found = styles(make_groups(read_runs([runs]).runs))
    assert {label: style.color for label, style in found.items()} == {
        name: color_of(name) for name in ("softmax", "center", "triplet")
    }


def test_no_two_of_many_variants_of_a_loss_look_alike(make: Make) -> None:
    names = [f"variant_{number}" for number in range(9)]
    for name in names:
        make(name, config=config_of(name, loss={"name": "triplet"}))
    runs = make("softmax", config=config_of("softmax", loss={"name": "softmax"}))
    found = styles(make_groups(read_runs([runs]).runs))
    assert len(found) == 10
    assert len({(style.color, style.dash) for style in found.values()}) == 10
    assert len({(style.color, style.marker) for style in found.values()}) == 10
    assert len({style.color for style in found.values()}) == 7
