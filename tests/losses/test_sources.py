"""Every loss says where it comes from, and the tests that it names exist."""

import re
from pathlib import Path

import pytest

from losses import LOSSES, Source, source

TESTS = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))


@pytest.mark.parametrize("name", LOSSES.names())
def test_every_loss_names_paper_equation_difference_and_tests_that_exist(name: str) -> None:
    found = source(LOSSES.get(name))
    assert all((found.paper, found.equation, found.differs, found.checked)), f"{name}: {found}"
    assert found.tests
    for test in found.tests:
        assert f"def {test}(" in TESTS, f"{name} names a test that does not exist: {test}"


@pytest.mark.parametrize("name", LOSSES.names())
def test_every_option_is_described_in_the_docstring(name: str) -> None:
    text = LOSSES.get(name).__doc__ or ""
    for option in LOSSES.options(name):
        assert re.search(rf"^ +{option}: \S", text, re.MULTILINE), f"{name}: {option} is not described"


def test_a_line_goes_on_over_indented_lines_and_loses_its_full_stop() -> None:
    def mine() -> None:
        """Mine.

        Source: Me, a long
            title, 2026.
        Equation: 7.

        Differs from the paper: nothing.
        Checked against: loops: test_a, test_b.
        """

    assert source(mine) == Source(
        paper="Me, a long title, 2026",
        equation="7",
        differs="nothing",
        checked="loops: test_a, test_b",
        tests=("test_a", "test_b"),
    )


def test_a_loss_that_says_nothing_has_an_empty_source() -> None:
    assert source(lambda: None) == Source()
