"""Whatever is in a file, it loads or it is refused in our words: no other exception, ever."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config import load_config
from bench.config.yaml_file import Key, Plain, parse_yaml, plain
from bench.config.yaml_text import yaml_document, yaml_inline
from bench.errors import UserError
from losses.registry import Registry

PIECES = [
    *("{", "}", "[", "]", ":", ": ", ",", "- ", "\n", "\n  ", "\t", "#", "'", '"', "|\n", ">\n", "\\", "-"),
    *("&a ", "*a", "!!int ", "!", "<<: ", "? ", "---\n", "...\n", "%YAML 1.1\n"),
    *('"\\x00"', '"\\uD800"', '"\\UFFFFFFFF"', "\0", "\x07", "\x85", "\u2028", "\ufeff", "é", "\U0001f600"),
    *("null", "true", "yes", ".nan", ".inf", "-.inf", "1e999", "0x1F", "9" * 40, "0", "3", "1.5", "a" * 300),
    *("name", "name: ", "loss: ", "seed: ", "plugins: ", "extends: ", "extends: toy.yaml\n", "toy.yaml"),
    *("center", "triplet", "step", "fars", "copy: 3", "rates: {0: 1}"),
]


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.choice([0, 0, 1, 2, 5, 30]))
        action = rng.randrange(4)
        if action == 0:
            text = text[:start] + rng.choice(PIECES) + text[stop:]
        elif action == 1:
            text = text[:start] + text[stop:]
        elif action == 2:
            text = text[:start] + text[start:stop] * rng.randint(2, 4) + text[stop:]
        else:
            other = rng.randrange(len(text) + 1)
            text = text[:other] + text[start:stop] + text[other:]
    return text


def test_a_mutated_file_loads_or_is_refused_in_our_words(
    folder: Path, components: Mapping[str, Registry[Any]], valid: str
) -> None:
    rng = random.Random(20261123)
    seedling = valid + "seed: 3\nevaluate: {fars: [1e-3, 0.1]}\nruntime: {device: cpu}\n"
    file = folder / "mutant.yaml"
    loaded = refused = 0
    for _ in range(1000):
        text = mutated(seedling, rng)
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            config = load_config(file, components=components)
        except UserError as error:
            assert str(error)
            refused += 1
        else:
            resolved = folder / "resolved.yaml"
            resolved.write_text(config.to_yaml(), encoding="utf-8")
            assert load_config(resolved, components=components).hash == config.hash
            loaded += 1
    assert loaded > 100
    assert refused > 500


def test_mutated_overrides_load_or_are_refused_in_our_words(
    folder: Path, components: Mapping[str, Registry[Any]]
) -> None:
    rng = random.Random(7)
    seeds = [
        "loss.factor=0.3",
        "evaluate.fars.0=0.1",
        "loss={name: triplet, weights: [1, 2]}",
        "schedule.name=step",
    ]
    loaded = refused = 0
    for _ in range(500):
        try:
            load_config(
                "toy.yaml", [mutated(rng.choice(seeds), rng), rng.choice(seeds)], components=components
            )
        except UserError as error:
            assert str(error)
            refused += 1
        else:
            loaded += 1
    assert loaded > 10
    assert refused > 100


def test_random_bytes_are_refused_in_our_words(folder: Path, components: Mapping[str, Registry[Any]]) -> None:
    rng = random.Random(11)
    file = folder / "noise.yaml"
    for _ in range(300):
        file.write_bytes(rng.randbytes(rng.randrange(60)))
        try:
            load_config(file, components=components)
        except UserError as error:
            assert str(error)


def test_any_text_and_number_survives_being_written(folder: Path) -> None:
    rng = random.Random(13)
    alphabet = "ab0123456789.+-eE_:# \n\t'\"{}[],&*!%@|>?~\r\x85\u2028\ufeffé\U0001f600"
    texts = tuple("".join(rng.choices(alphabet, k=rng.randrange(8))) for _ in range(300))
    numbers = tuple(rng.choice([1, -1]) * 10 ** rng.uniform(-320, 308) for _ in range(300))
    values: dict[Key, Plain] = {"texts": texts, "numbers": numbers, "schedule": dict(enumerate(texts))}

    again = plain(parse_yaml(yaml_document({"values": values}), "x.yaml"))

    assert again == {"values": values}
    for text in texts:
        assert plain(parse_yaml(yaml_inline((text,)), "x.yaml")) == (text,)
