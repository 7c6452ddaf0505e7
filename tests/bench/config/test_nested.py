"""Components whose options are components: sums of losses, losses around a loss, lists of dataclasses."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from bench.config import Component, RunConfig, explain, json_schema, load_config
from bench.errors import ConfigError, UserError
from losses import LOSSES as REAL
from losses.registry import Choice, Registry
from losses.types import Bounds, NonNegative, Positive

Load = Callable[..., RunConfig]

LOSSES: Registry[Any] = Registry("loss")


@LOSSES.register
def center(*, factor: NonNegative = 0.01) -> None:
    """A pull towards the center."""


@LOSSES.register
def triplet(*, alpha: Positive = 0.2, mining: Literal["hard", "semi_hard"] = "semi_hard") -> None:
    """Triplets with a margin."""


@dataclass(frozen=True, slots=True)
class Span:
    """Epochs.

    Args:
        start: first epoch.
        stop: the epoch after the last.
    """

    start: Annotated[int, Bounds(ge=0)]
    stop: int = 10
    rates: dict[int, Positive] = field(default_factory=lambda: {0: 1.0})

    def __post_init__(self) -> None:
        """A span has a length."""
        if self.start >= self.stop:
            raise ValueError(f"start < stop must hold, but got (start={self.start}, stop={self.stop})")


@dataclass(frozen=True, slots=True)
class Part:
    """A loss in a joint loss."""

    loss: Annotated[Choice, LOSSES]
    weight: NonNegative = 1.0
    span: Span | None = None


@LOSSES.register
class Joint:
    """Several losses at once.

    Args:
        parts: the losses with
            their weights.
    """

    def __init__(
        self,
        *,
        scale: Positive = 1.0,
        parts: tuple[Part, ...] = (Part(Choice("center")), Part(Choice("triplet", {"alpha": 0.3}), 0.5)),
        norm: bool = True,
    ) -> None:
        self.parts = parts


@LOSSES.register
class Around:
    """A loss around another."""

    def __init__(
        self,
        *,
        loss: Annotated[Choice, LOSSES] = Choice("triplet", {"alpha": 0.3}),  # noqa: B008  (frozen)
        other: Annotated[Choice, LOSSES] | None = None,
        more: tuple[Annotated[Choice, LOSSES], ...] = (),
        span: Span = Span(0, 5),
    ) -> None:
        self.loss = loss


JOINT = """\
extends: toy.yaml
loss:
  name: joint
  parts:
    - loss: {name: center}
    - loss:
        name: triplet
        alpha: 0.1
      weight: 0.5
      span: {start: 2}
"""


@pytest.fixture(scope="module")
def components(components: Mapping[str, Registry[Any]]) -> Mapping[str, Registry[Any]]:
    return {**components, "loss": LOSSES}


def problems(load: Load, *overrides: str, text: str | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*overrides, text=text, file="joint.yaml" if text else "toy.yaml")
    return list(caught.value.problems)


def with_loss(loss: Callable[..., Any], components: Mapping[str, Registry[Any]]) -> dict[str, Registry[Any]]:
    """The toy components with one more loss, in a registry of its own."""
    registry: Registry[Any] = Registry("loss")
    registry.register(loss)
    return {**components, "loss": registry}


def test_the_factory_is_given_the_objects_of_its_signature(load: Load) -> None:
    config = load(text=JOINT, file="joint.yaml")

    assert dict(config.loss.options) == {
        "scale": 1.0,
        "parts": (
            Part(Choice("center", {"factor": 0.01})),
            Part(Choice("triplet", {"alpha": 0.1, "mining": "semi_hard"}), 0.5, Span(2)),
        ),
        "norm": True,
    }
    assert LOSSES.build("joint", {}, config.loss.options).parts == config.loss.options["parts"]


def test_the_tree_is_plain_and_has_every_nested_default(load: Load) -> None:
    loss = load(text=JOINT, file="joint.yaml").tree()["loss"]

    assert loss == {
        "name": "joint",
        "scale": 1.0,
        "parts": (
            {"loss": {"name": "center", "factor": 0.01}, "weight": 1.0, "span": None},
            {
                "loss": {"name": "triplet", "alpha": 0.1, "mining": "semi_hard"},
                "weight": 0.5,
                "span": {"start": 2, "stop": 10, "rates": {0: 1.0}},
            },
        ),
        "norm": True,
    }
    assert isinstance(loss, dict)
    assert list(loss) == ["name", "scale", "parts", "norm"]


def test_a_nested_default_in_python_is_filled_in_as_well(load: Load) -> None:
    loss = load("loss.name=around").tree()["loss"]

    assert loss == {
        "name": "around",
        "loss": {"name": "triplet", "alpha": 0.3, "mining": "semi_hard"},
        "other": None,
        "more": (),
        "span": {"start": 0, "stop": 5, "rates": {0: 1.0}},
    }


def test_the_hash_covers_nested_options_and_not_how_they_are_written(load: Load) -> None:
    defaults = load("loss.name=joint")
    spelled = load("loss={name: joint, parts: [{loss: {name: center, factor: 1e-2}}, "
                   "{weight: 0.5, loss: {mining: semi_hard, name: triplet, alpha: 0.3}}]}")  # fmt: skip

    assert spelled.hash == defaults.hash
    assert load("loss.name=joint", "loss.parts.0.loss.factor=0.02").hash != defaults.hash
    assert load("loss.name=joint", "loss.parts.0.weight=0.5").hash != defaults.hash


@pytest.mark.parametrize("override", ["loss.name=joint", "loss.name=around", "seed=1"])
def test_the_resolved_file_gives_nested_components_back(load: Load, override: str) -> None:
    config = load(override, text=JOINT, file="joint.yaml")

    again = load(text=config.to_yaml(), file="resolved.yaml")

    assert again == config.__class__(**{**_fields(config), "name": again.name})
    assert again.hash == config.hash
    assert again.to_yaml() == config.to_yaml()


def _fields(config: RunConfig) -> dict[str, Any]:
    return {entry.name: getattr(config, entry.name) for entry in dataclasses.fields(config)}


def test_the_resolved_file_reads_as_a_person_would_write_it(load: Load) -> None:
    assert """\
loss:
  name: joint
  scale: 1.0
  parts:
  - loss:
      name: center
      factor: 0.01
    weight: 1.0
    span: null
  - loss:
      name: triplet
      alpha: 0.1
      mining: semi_hard
    weight: 0.5
    span:
      start: 2
      stop: 10
      rates: {0: 1.0}
  norm: true
""" in load(text=JOINT, file="joint.yaml").to_yaml()


def test_nested_values_are_parameters_and_say_where_they_come_from(load: Load) -> None:
    config = load("loss.parts.1.weight=0.3", text=JOINT, file="joint.yaml")
    rows = {row.path: (row.value, row.origin) for row in explain(config)}

    assert rows["loss.parts.1.loss.alpha"] == (0.1, "joint.yaml:8")
    assert rows["loss.parts.1.loss.mining"] == ("semi_hard", "default")
    assert rows["loss.parts.1.weight"] == (0.3, "command line")
    assert rows["loss.parts.0.weight"] == (1.0, "default")
    assert config.flat()["loss.parts.1.span.rates"] == "{0: 1.0}"
    assert all(
        value is None or isinstance(value, (bool, int, float, str)) for value in config.flat().values()
    )


def test_a_nested_configuration_travels_and_can_be_replaced(load: Load) -> None:
    config = load(text=JOINT, file="joint.yaml")

    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config).hash == config.hash
    other = dataclasses.replace(config, loss=Component("around", {"loss": Choice("center", {"factor": 1.0})}))
    assert other.tree()["loss"] == {"name": "around", "loss": {"name": "center", "factor": 1.0}}


def test_what_the_factory_does_to_nested_options_stays_its_own(load: Load) -> None:
    config = load(text=JOINT, file="joint.yaml")

    config.loss.options["parts"][1].loss.options["alpha"] = 9.0

    assert config.loss.options["parts"][1].loss.options["alpha"] == 0.1


WRONG = """\
extends: toy.yaml
loss:
  name: joint
  scale: -1
  parts:
    - loss: {name: centre}
    - loss:
        name: triplet
        alpa: 0.2
        mining: hrd
      weight: -0.5
      wait: 3
      span: {stop: 3, start: x}
    - {name: center}
    - 5
    - loss: triplet
    - loss: {alpha: 0.2}
    - loss: {name: center}
      span: {start: 4, stop: 3}
    - loss: {name: joint, parts: [{loss: {name: triplet, alpha: 0}}]}
    - loss: {name: center}
      span: {stop: 3}
    - loss: {name: joint, parts: {0: {weight: 2}}}
"""


def test_problems_of_nested_sections_come_all_at_once_with_their_lines(load: Load) -> None:
    assert problems(load, text=WRONG) == [
        "joint.yaml:4: loss.scale: must be > 0, got -1",
        "joint.yaml:6: loss.parts.0.loss.name: unknown loss 'centre'; did you mean 'center'?",
        "joint.yaml:9: loss.parts.1.loss.alpa: unknown key; did you mean 'alpha'?",
        "joint.yaml:10: loss.parts.1.loss.mining: must be one of 'hard', 'semi_hard', got 'hrd'; "
        "did you mean 'hard'?",
        "joint.yaml:11: loss.parts.1.weight: must be >= 0, got -0.5",
        "joint.yaml:12: loss.parts.1.wait: unknown key; did you mean 'weight'?",
        "joint.yaml:13: loss.parts.1.span.start: must be a whole number >= 0, got 'x'",
        "joint.yaml:14: loss.parts.2.loss: missing; add 'loss: {name: ...}' (around, center, joint, triplet)",
        "joint.yaml:14: loss.parts.2.name: unknown key; 'parts' takes loss, span, weight",
        "joint.yaml:15: loss.parts.3: must be a section of loss, weight, span, got 5",
        "joint.yaml:16: loss.parts.4.loss: must be a section: 'loss: {name: triplet}', "
        "or loss.parts.4.loss.name=triplet as an override",
        "joint.yaml:17: loss.parts.5.loss.name: missing; one of around, center, joint, triplet",
        "joint.yaml:19: loss.parts.6.span: start < stop must hold, but got (start=4, stop=3)",
        "joint.yaml:20: loss.parts.7.loss.parts.0.loss.alpha: must be > 0, got 0",
        "joint.yaml:22: loss.parts.8.span.start: missing; must be a whole number >= 0",
        "joint.yaml:23: loss.parts.9.loss.parts: must be a list, each entry a section of loss, weight, span, "
        "got {0: {weight: 2}}",
    ]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            "loss.loss=null",
            "loss.loss: must be a section with a name (around, center, joint, triplet), got null",
        ),
        (
            "loss.more=[center]",
            "loss.more.0: must be a section: '{name: center}', or loss.more.0.name=center as an override",
        ),
        (
            "loss.more={name: center}",
            "loss.more: must be a list, each entry a section with a name (around, center, joint, triplet), "
            "got {name: center}",
        ),
        ("loss.other.alpha=1", "loss.other.name: missing; one of around, center, joint, triplet"),
        ("loss.span=3", "loss.span: must be a section of start, stop, rates, got 3"),
        ("loss.span.rates={x: 1}", "loss.span.rates.x: the key must be a whole number, got 'x'"),
        ("loss.span.stop=0", "loss.span: start < stop must hold, but got (start=0, stop=0)"),
    ],
)
def test_a_message_about_a_nested_section(load: Load, override: str, problem: str) -> None:
    assert problems(load, "loss.name=around", override) == [f"{problem} (command line)"]


def test_overrides_reach_into_nested_sections_of_a_file(load: Load) -> None:
    config = load("loss.parts.1.weight=0.3", "loss.parts.1.loss.alpha=0.7", text=JOINT, file="joint.yaml")

    assert config.loss.options["parts"][1] == Part(
        Choice("triplet", {"alpha": 0.7, "mining": "semi_hard"}), 0.3, Span(2)
    )


def test_overrides_reach_into_nested_sections_that_are_defaults(load: Load) -> None:
    config = load("loss.name=joint", "loss.parts.1.weight=0.3", "loss.parts.0.loss.factor=0.7")
    around = load("loss.name=around", "loss.loss.mining=hard", "loss.span.stop=7")

    assert config.loss.options["parts"] == (
        Part(Choice("center", {"factor": 0.7})),
        Part(Choice("triplet", {"alpha": 0.3, "mining": "semi_hard"}), 0.3),
    )
    assert around.loss.options["loss"] == Choice("triplet", {"alpha": 0.3, "mining": "hard"})
    assert around.loss.options["span"] == Span(0, 7)


def test_a_default_list_says_how_long_it_is(load: Load) -> None:
    assert problems(load, "loss.name=joint", "loss.parts.2.weight=1") == [
        "loss.parts.2: 'loss.parts' is a list of 2, counted from 0 (command line)"
    ]


def test_another_nested_name_replaces_that_section_in_any_order(load: Load) -> None:
    overrides = ["loss.parts.1.loss.factor=0.4", "loss.parts.1.loss.name=center", "loss.name=joint"]
    expected = Part(Choice("center", {"factor": 0.4}), 0.5, Span(2))

    for order in (overrides, overrides[::-1]):
        assert load(*order, text=JOINT, file="joint.yaml").loss.options["parts"][1] == expected
        assert load(*order).loss.options["parts"][1] == dataclasses.replace(expected, span=None)


def test_a_child_changes_a_nested_section_as_it_does_any_other(load: Load, folder: Path) -> None:
    (folder / "base.yaml").write_text(
        "extends: toy.yaml\nloss: {name: around, loss: {name: triplet, alpha: 1}}\n"
    )

    same = load(text="extends: base.yaml\nloss: {loss: {mining: hard}}\n", file="child.yaml")
    other = load(text="extends: base.yaml\nloss: {loss: {name: center}}\n", file="child.yaml")

    assert same.loss.options["loss"] == Choice("triplet", {"alpha": 1.0, "mining": "hard"})
    assert other.loss.options["loss"] == Choice("center", {"factor": 0.01})


def test_null_takes_an_optional_section_away(load: Load) -> None:
    text = "extends: toy.yaml\nloss: {name: around, other: {name: center}}\n"

    assert load(text=text, file="around.yaml").loss.options["other"] == Choice("center", {"factor": 0.01})
    assert load("loss.other=null", text=text, file="around.yaml").loss.options["other"] is None


def of_a_bad_default(*, loss: Annotated[Choice, LOSSES] = Choice("triplet", {"alpha": -1.0})) -> None:  # noqa: B008
    """Its author made a mistake."""


def of_an_unknown_default(*, loss: Annotated[Choice, LOSSES] = Choice("tripel")) -> None:  # noqa: B008
    """Its author made another."""


def of_null(*, loss: Annotated[Choice, LOSSES] = None) -> None:  # type: ignore[assignment]
    """Its author forgot to say that it may be left out."""


def of_no_registry(*, loss: Choice = Choice("center")) -> None:  # noqa: B008
    """Its author did not say which names there are."""


def of_a_mapping(*, parts: dict[str, Part] = {}) -> None:  # noqa: B006
    """Names its parts."""


def of_text_or_a_part(*, part: Part | str = "x") -> None:
    """Takes either."""


@dataclass(frozen=True)
class OfModules:
    """Holds what no file can."""

    registry: Registry[Any] = LOSSES


def of_modules(*, parts: OfModules = OfModules()) -> None:
    """Takes what no file can give, one level down."""


NO_FILE = "an option has a type no file can give:"


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (of_a_bad_default, "loss.loss.alpha: must be > 0, got -1.0, its default"),
        (
            of_an_unknown_default,
            "loss.loss.name: unknown loss 'tripel'; did you mean 'triplet'?, its default",
        ),
        (
            of_null,
            "loss.loss: must be a section with a name (around, center, joint, triplet), "
            "got null, its default",
        ),
        (
            of_no_registry,
            f"loss.name: loss 'of_no_registry': {NO_FILE} Choice without its registry, "
            "as in Annotated[Choice, LOSSES]",
        ),
        (
            of_a_mapping,
            f"loss.name: loss 'of_a_mapping': {NO_FILE} "
            "sections may stand alone, as 'X | None' or as 'tuple[X, ...]'",
        ),
        (
            of_text_or_a_part,
            f"loss.name: loss 'of_text_or_a_part': {NO_FILE} "
            "sections may stand alone, as 'X | None' or as 'tuple[X, ...]'",
        ),
        (
            of_modules,
            f"loss.parts: OfModules: {NO_FILE} Unable to generate pydantic-core schema for "
            "losses.registry.Registry[typing.Any]. Set `arbitrary_types_allowed=True` in the model_config to "
            "ignore this error or implement `__get_pydantic_core_schema__` on your type to fully support it."
            ", its default",
        ),
    ],
)
def test_a_nested_option_that_no_file_could_give_blames_its_author(
    folder: Path, components: Mapping[str, Registry[Any]], factory: Callable[..., None], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("toy.yaml", [f"loss.name={factory.__name__}"], components=with_loss(factory, components))

    assert [line.partition(" (command line)")[0] for line in caught.value.problems] == [problem]


def test_a_default_that_holds_itself_is_refused_and_not_followed_for_ever(
    folder: Path, components: Mapping[str, Registry[Any]]
) -> None:
    registry: Registry[Any] = Registry("loss")
    twice = (Choice("endless"), Choice("endless"))

    def endless(*, losses: Any = twice) -> None:
        """Holds itself, twice."""

    endless.__annotations__["losses"] = tuple[Annotated[Choice, registry], ...]
    registry.register(endless)

    with pytest.raises(ConfigError) as caught:
        load_config("toy.yaml", ["loss.name=endless"], components={**components, "loss": registry})

    assert caught.value.problems == (
        f"loss{'.losses.0' * 10}: nested more than 20 deep, its default (command line)",
    )


def test_the_schema_describes_nested_components_by_their_name(
    components: Mapping[str, Registry[Any]],
) -> None:
    schema = json_schema(components)
    definitions = schema["definitions"]
    cases = {case["if"]["properties"]["name"]["const"]: case["then"] for case in definitions["loss"]["allOf"]}

    assert set(definitions) == {"loss", "Part", "Span"}
    assert set(cases) == {"around", "center", "joint", "triplet"}
    assert cases["triplet"]["properties"]["alpha"]["exclusiveMinimum"] == 0.0
    assert cases["triplet"]["additionalProperties"] is False
    assert cases["joint"]["properties"]["parts"] == {
        "description": "the losses with their weights.",
        "default": [
            {"loss": {"name": "center"}, "weight": 1.0, "span": None},
            {"loss": {"name": "triplet", "alpha": 0.3}, "weight": 0.5, "span": None},
        ],
        "type": "array",
        "items": {"allOf": [{"$ref": "#/definitions/Part"}]},
    }
    assert definitions["Part"]["properties"]["loss"] == {"allOf": [{"$ref": "#/definitions/loss"}]}
    assert definitions["Part"]["properties"]["weight"]["minimum"] == 0.0
    assert definitions["Part"]["properties"]["span"] == {
        "default": None,
        "anyOf": [{"allOf": [{"$ref": "#/definitions/Span"}]}, {"type": "null"}],
    }
    assert definitions["Span"]["properties"]["start"]["description"] == "first epoch."
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema


def test_a_mutated_nested_file_loads_or_is_refused_in_our_words(
    folder: Path, components: Mapping[str, Registry[Any]]
) -> None:
    rng = random.Random(20261124)
    pieces = [
        "loss",
        "name",
        "parts",
        "joint",
        "around",
        "center",
        "[",
        "]",
        "{",
        "}",
        "0",
        "null",
        ": ",
        "- ",
    ]
    pieces += ["\n", "  ", "span", "{name: joint}", "{0: {weight: 1}}", "start", "alpha", "-1", "weight"]
    loaded = refused = 0
    for _ in range(400):
        text = JOINT
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(text.index("loss"), len(text) + 1)
            text = text[:start] + rng.choice(pieces) + text[start + rng.choice([0, 0, 1, 4, 6]) :]
        (folder / "mutant.yaml").write_text(text)
        override = rng.choice(
            ["seed=1", "loss.parts.1.loss.name=joint", "loss.parts.0={}", "loss.name=around"]
        )
        try:
            config = load_config("mutant.yaml", [override], components=components)
        except UserError as error:
            assert str(error)
            refused += 1
        else:
            (folder / "resolved.yaml").write_text(config.to_yaml())
            assert load_config("resolved.yaml", components=components).hash == config.hash
            loaded += 1
    assert loaded > 20
    assert refused > 100


PLUGIN = '''\
from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from losses import LOSSES, Choice, Loss
from losses.types import Positive

@dataclass(frozen=True)
class Share:
    """A loss and its share."""

    loss: Annotated[Choice, LOSSES]
    share: Positive = 1.0

@LOSSES.register
class SharesOfTest(Loss):
    """Losses that share."""

    def __init__(self, embedding_dim: int, num_classes: int, *, shares: tuple[Share, ...] = ()) -> None:
        super().__init__()
        engine = {"embedding_dim": embedding_dim, "num_classes": num_classes}
        self.losses = [LOSSES.build(entry.loss.name, engine, entry.loss.options) for entry in shares]
'''


def test_a_plugins_own_loss_may_hold_losses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REAL, "_factories", dict(REAL._factories))  # for this test alone
    (folder / "shares.py").write_text(PLUGIN)
    (folder / "shares.yaml").write_text(
        "extends: base/rendered.yaml\nplugins: [shares.py]\n"
        "loss: {name: shares_of_test, shares: [{loss: {name: softmax}}, {loss: {name: triplet}, share: 2}]}\n"
    )

    config = load_config("shares.yaml", ["loss.shares.1.loss.alpha=0.3"])
    loss = REAL.build("shares_of_test", {"embedding_dim": 4, "num_classes": 3}, config.loss.options)

    assert [type(part).__name__ for part in vars(loss)["losses"]] == ["Softmax", "Triplet"]
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.flat()["loss.shares.1.loss.alpha"] == 0.3
    with pytest.raises(ConfigError, match=r"^loss\.shares\.0\.share: must be > 0, got 0 \(command line\)$"):
        load_config("shares.yaml", ["loss.shares.0.share=0"])
