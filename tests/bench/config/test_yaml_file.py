"""Reading YAML: scalars without surprises, lines, and one line for everything that is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.config.yaml_file import MAX_BYTES, Origin, Plain, origin_at, parse_yaml, plain, read_yaml
from bench.errors import ConfigError, UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 0.0003),
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("10", 10),
        ("-3", -3),
        ("0.0", 0.0),
        ("5.", 5.0),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("010", "010"),
        ("0o17", "0o17"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-11-23", "2026-11-23"),
        ("'3'", "3"),
        ('"true"', "true"),
        ("1.2.3", "1.2.3"),
        ("[1, 2.5, x]", (1, 2.5, "x")),
        ("{0: 0.1, 150: .01}", {0: 0.1, 150: 0.01}),
        (".inf", math.inf),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2.0**63),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: Plain) -> None:
    found = plain(parse_yaml(f"key: {text}", "x.yaml"))

    assert isinstance(found, dict)
    assert found["key"] == value
    assert type(found["key"]) is type(value)


def test_every_value_knows_the_line_of_its_key() -> None:
    node = parse_yaml("a: 1\nb:\n  c:\n    3e-4\n  d: [1,\n    2]\n", "x.yaml")

    assert origin_at(node, ("a",)) == Origin("x.yaml", 1)
    assert origin_at(node, ("b",)) == Origin("x.yaml", 2)
    assert origin_at(node, ("b", "c")) == Origin("x.yaml", 3)
    assert origin_at(node, ("b", "d", 1)) == Origin("x.yaml", 6)
    assert origin_at(node, ("b", "missing", "deeper")) == Origin("x.yaml", 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 3\n  c: 4", "x.yaml:4: duplicate key 'c' (first on line 3)"),
        ("1: a\n'1': b", "x.yaml:2: duplicate key '1' (first on line 1)"),
        ("a: 1\n a: 2", "x.yaml:2: not YAML: mapping values are not allowed here"),
        ("a:\n\t- b", "x.yaml:2: not YAML: a tab; indent with spaces"),
        (
            "a: [1,\n 2",
            "x.yaml:2: not YAML: expected ',' or ']', but got '<stream end>' while parsing a flow sequence",
        ),
        (
            "a: !!python/object:os.system x",
            "x.yaml:1: tags ('!...') are not supported; write the plain value",
        ),
        ("\na: !x {b: 1}", "x.yaml:2: tags ('!...') are not supported; write the plain value"),
        (
            "a: &x 1\nb: *x",
            "x.yaml:1: anchors and aliases are not supported; share settings with 'extends:'",
        ),
        ("b: *x", "x.yaml:1: anchors and aliases are not supported; share settings with 'extends:'"),
        (
            "<<: {a: 1}",
            "x.yaml:1: merge keys ('<<') are not supported; share settings with 'extends:'",
        ),
        ("? [a]\n: b", "x.yaml:1: a key must be a name or a whole number"),
        ("true: b", "x.yaml:1: a key must be a name or a whole number, got true"),
        ("a: 1\n---\nb: 1", "x.yaml:2: a second document ('---'); a file holds one configuration"),
        ("a: 1\nb: \x07", "x.yaml:2: character U+0007 is not allowed in YAML"),
        ('a: "\\ud800"', "x.yaml:1: text holds a NUL or half a surrogate pair"),
        ('a: "\\0"', "x.yaml:1: text holds a NUL or half a surrogate pair"),
        ("a: " + "[" * 100_000, "x.yaml:1: nested more than 20 deep"),
        ("a: " + "{b: " * 100_000, "x.yaml:1: nested more than 20 deep"),
    ],
)
def test_what_a_configuration_does_not_need_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "x.yaml")

    assert caught.value.problems == (message,)


def test_a_character_number_beyond_unicode_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^x\.yaml: not YAML: "):
        parse_yaml('a: "\\UFFFFFFFF"', "x.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.yaml:1: the file is empty; start with 'extends: base/rendered.yaml'"),
        (b"# only a comment\n", "x.yaml:1: the file is empty; start with 'extends: base/rendered.yaml'"),
        (b"\n[1, 2]", "x.yaml:2: must hold 'key: value' lines"),
        (b"just text", "x.yaml:1: must hold 'key: value' lines"),
        (b"a: 1\nb: \xff\xfe", "x.yaml:2: not UTF-8 text; save the file as UTF-8"),
        (b"#" * (MAX_BYTES + 1), "x.yaml: larger than 1,000,000 bytes; this is not a configuration"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)

    with pytest.raises(UserError) as caught:
        read_yaml(file, "x.yaml")

    assert str(caught.value) == message


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbfseed: 1\n")

    assert plain(read_yaml(file, "x.yaml")) == {"seed": 1}


def test_a_folder_cannot_be_read_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^here: cannot be read: Is a directory$"):
        read_yaml(tmp_path, "here")
