"""What is said to people, whatever a stranger's file brought into it."""

from __future__ import annotations

import pickle

from bench.errors import BenchError, ConfigError, UserError, did_you_mean, one_line


def test_control_characters_cannot_steer_the_terminal() -> None:
    assert str(UserError("x.csv: no column '\x1b[2J\u2028\udc80'")) == (
        "x.csv: no column '\\x1b[2J\\u2028\\udc80'"
    )
    assert str(BenchError("na\u00efve, 3 \u00d7 2: a\nb")) == "na\u00efve, 3 \u00d7 2: a\nb"


def test_every_problem_of_a_configuration_is_printable() -> None:
    error = ConfigError(["a.yaml:1: \x07: unknown key", "a.yaml:2: fine"])
    assert error.problems == ("a.yaml:1: \\x07: unknown key", "a.yaml:2: fine")
    assert str(error) == "a.yaml:1: \\x07: unknown key\na.yaml:2: fine"


def test_what_other_libraries_say_becomes_one_line_of_bounded_length() -> None:
    assert one_line("could not\n- method gz: no\t- xz") == "could not - method gz: no - xz"
    assert one_line("a" * 20, 5) == "aaaaa ..."


def test_errors_pass_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UserError("a\x00b")))
    assert isinstance(error, UserError)
    assert str(error) == "a\\x00b"


def test_a_near_word_is_offered() -> None:
    assert did_you_mean("margn", ("margin", "scale")) == "; did you mean 'margin'?"
