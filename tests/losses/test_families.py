"""Components of another package behind a prefix, `toys:ring`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from losses import Family
from losses.families import MissingPackageError
from losses.registry import Registry, UnknownNameError


def toys(*, package: str = "json", names: tuple[str, ...] = ("Ring", "RingCut", "Spring")) -> Family[object]:
    """Factories that say who they are."""

    def factory(name: str) -> Callable[..., object]:
        def make(embedding_dim: int, *, radius: float = 1.0) -> object:
            """A toy."""
            return (name, embedding_dim, radius)

        return make

    return Family("toys of every kind", package, "pip install toys", lambda: names, factory)


@pytest.fixture
def registry() -> Registry[object]:
    registry: Registry[object] = Registry("loss")
    registry.named("plain")(lambda: "plain")
    registry.add_family("toys", toys())
    return registry


def test_a_member_is_built_by_its_name_behind_the_prefix(registry: Registry[object]) -> None:
    assert registry.build("toys:Ring", {"embedding_dim": 3, "num_classes": 5}, {"radius": 2.0}) == (
        "Ring",
        3,
        2.0,
    )
    assert registry.build("plain", {}, {}) == "plain"


def test_a_members_signature_is_its_schema(registry: Registry[object]) -> None:
    assert registry.options("toys:Ring") == {"radius": (float, 1.0)}
    assert registry.summary("toys:Ring") == "A toy."


def test_a_member_is_made_once(registry: Registry[object]) -> None:
    assert registry.get("toys:Ring") is registry.get("toys:Ring")
    assert registry.get("toys:Ring") is not registry.get("toys:Spring")


def test_names_are_the_registered_ones_and_spellings_mention_the_family(registry: Registry[object]) -> None:
    assert registry.names() == ["plain"]
    assert registry.spellings() == ["plain", "toys:NAME"]
    assert list(registry.families()) == ["toys"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("toys:Rign", "unknown loss 'toys:Rign'; did you mean 'toys:Ring'?"),
        ("toys:spring", "unknown loss 'toys:spring'; did you mean 'toys:Spring'?"),
        ("toys:", "unknown loss 'toys:'; there are 3: toys:Ring, toys:RingCut, toys:Spring"),
        ("toys:zzzzzzz", "unknown loss 'toys:zzzzzzz'; there are 3: toys:Ring, toys:RingCut, toys:Spring"),
        ("toy:Ring", "unknown loss 'toy:Ring'; did you mean 'toys:Ring'?"),
        ("web:Ring", "unknown loss 'web:Ring'; there are plain, toys:NAME"),
        ("Ring", "unknown loss 'Ring'; there are plain, toys:NAME"),
    ],
)
def test_an_unknown_member_names_the_nearest(registry: Registry[object], name: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        registry.get(name)
    assert str(error.value) == message


def test_many_members_are_not_all_listed() -> None:
    registry: Registry[object] = Registry("backbone")
    registry.add_family("toys", toys(names=tuple(f"m{number:04}" for number in range(1000))))
    with pytest.raises(UnknownNameError) as error:
        registry.get("toys:unlike")
    assert str(error.value) == (
        "unknown backbone 'toys:unlike'; there are 1000: toys:m0000, toys:m0001, toys:m0002, toys:m0003, "
        "toys:m0004, toys:m0005, toys:m0006, toys:m0007, ..."
    )


def test_a_missing_package_says_how_to_install_it() -> None:
    registry: Registry[object] = Registry("loss")
    registry.add_family("toys", toys(package="no_such_package"))
    with pytest.raises(MissingPackageError) as error:
        registry.get("toys:Ring")
    assert str(error.value) == (
        "loss 'toys:...' needs the package no_such_package; install it with: pip install toys"
    )


def test_a_prefix_is_taken_once(registry: Registry[object]) -> None:
    with pytest.raises(ValueError, match="loss family 'toys' is already registered; choose another prefix"):
        registry.add_family("toys", toys())


def test_a_colon_belongs_to_families(registry: Registry[object]) -> None:
    with pytest.raises(
        ValueError, match="loss 'a:b': ':' stands between a family and a name; use add_family"
    ):
        registry.named("a:b")(lambda: None)


def test_a_members_options_need_types_and_defaults_too() -> None:
    def bare(*, radius=1.0):  # type: ignore[no-untyped-def]
        return radius

    registry: Registry[object] = Registry("loss")
    registry.add_family(
        "toys", Family("toys", "json", "pip install toys", lambda: ["Bare"], lambda name: bare)
    )
    with pytest.raises(TypeError, match="loss 'toys:Bare': option 'radius' needs a type and a default"):
        registry.get("toys:Bare")
