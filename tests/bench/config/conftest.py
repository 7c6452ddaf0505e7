"""Toy components, so that these tests depend on no real loss or backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from bench.config import RunConfig, load_config
from losses.registry import Registry
from losses.types import Bounds, Fraction, NonNegativeInt, Positive, PositiveInt, Radians

Load = Callable[..., RunConfig]

VALID = """\
description: a toy
data: {name: faces, size_px: 32}
backbone: {name: tiny, embedding_dim: 16}
loss: {name: center, factor: 0.01}
batch: {name: random, size: 8}
optimizer: {name: sgd, learning_rate: 1e-2}
schedule: {name: constant}
train: {epochs: 2}
"""


def faces(
    cache: Path, *, size_px: PositiveInt = 48, seed: NonNegativeInt = 0, root: str | None = None
) -> None:
    """Faces that nobody draws."""


def tiny(*, embedding_dim: PositiveInt = 128, dropout: Fraction = 0.0) -> None:
    """A small network."""


class Center:
    """Cross entropy and a pull towards the center.

    Args:
        embedding_dim: D.
        num_classes: C.
        factor: weight of the center term,
            dimensionless.
        alfa: how slowly centers move.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        factor: Annotated[float, Bounds(ge=0.0)] = 0.01,
        alfa: Fraction = 0.95,
        convention: Literal["paper", "facenet"] = "facenet",
    ) -> None: ...


class Triplet:
    """Triplets with a margin."""

    def __init__(
        self,
        *,
        alpha: Positive = 0.2,
        mining: Literal["all", "hard", "semi_hard"] = "semi_hard",
        squared: bool = True,
        angle: Radians | None = None,
        copy: PositiveInt | Literal["auto"] = "auto",
        weights: tuple[Positive, ...] = (1.0,),
    ) -> None: ...


def random(labels: Any, seed: int, *, size: PositiveInt = 128) -> None:
    """Any images."""


def sgd(groups: Any, *, learning_rate: Positive = 0.1, nesterov: bool = False) -> None:
    """Stochastic gradient descent."""


def constant(rate: float, *, warmup_epochs: Annotated[float, Bounds(ge=0.0)] = 0.0) -> None:
    """The base rate throughout."""


def step(rate: float, *, rates: dict[int, Positive] = {0: 0.1}) -> None:  # noqa: B006
    """A rate from each epoch on."""


def _registry(kind: str, *factories: Callable[..., Any]) -> Registry[Any]:
    registry: Registry[Any] = Registry(kind)
    for factory in factories:
        registry.register(factory)
    return registry


@pytest.fixture(scope="session")
def components() -> Mapping[str, Registry[Any]]:
    return {
        "data": _registry("data set", faces),
        "backbone": _registry("backbone", tiny),
        "loss": _registry("loss", Center, Triplet),
        "batch": _registry("batch source", random),
        "optimizer": _registry("optimizer", sgd),
        "schedule": _registry("schedule", constant, step),
    }


@pytest.fixture
def valid() -> str:
    """A configuration of toy components, one section a line."""
    return VALID


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a valid `toy.yaml`; messages show paths relative to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.yaml").write_text(VALID)
    return tmp_path


@pytest.fixture
def load(folder: Path, components: Mapping[str, Registry[Any]]) -> Load:
    """`load(*overrides, text=None, file="toy.yaml")` with the toy components; writes `text` there first."""

    def load_toy(*overrides: str, text: str | None = None, file: str = "toy.yaml") -> RunConfig:
        if text is not None:
            (folder / file).write_text(text)
        return load_config(file, overrides, components=components)

    return load_toy
