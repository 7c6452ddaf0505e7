"""Tests of bench/schedules.py: the learning rate of every step."""

from __future__ import annotations

import math

import pytest

from bench.schedules import SCHEDULES


def test_cosine_warms_up_falls_and_ends_at_its_final_share() -> None:
    schedule = SCHEDULES.get("cosine")(0.1, 1000, 100, warmup_epochs=1.0, final=0.01)
    assert schedule(0) == pytest.approx(0.1 / 100)
    assert schedule(99) == pytest.approx(0.1)
    assert schedule(550) == pytest.approx(0.1 * (0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2))
    assert schedule(1000) == pytest.approx(0.001)
    rates = [schedule(step) for step in range(100, 1001)]
    assert rates == sorted(rates, reverse=True)


def test_constant_stays_after_its_warm_up() -> None:
    schedule = SCHEDULES.get("constant")(0.1, 100, 10, warmup_epochs=0.5)
    assert [schedule(step) for step in range(6)] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])
    assert SCHEDULES.get("constant")(0.1, 100, 10)(0) == 0.1


def test_linear_is_a_straight_line_from_the_end_of_the_warm_up() -> None:
    schedule = SCHEDULES.get("linear")(0.4, 110, 10, warmup_epochs=1.0, final=0.5)
    assert [schedule(step) for step in (0, 9, 10)] == pytest.approx([0.04, 0.4, 0.4])
    assert [schedule(step) for step in (35, 60, 110)] == pytest.approx([0.35, 0.3, 0.2])


def test_steps_takes_the_rate_of_the_last_epoch_that_has_begun() -> None:
    rates = {180: 0.001, 0: 0.1, 150: 0.01}
    schedule = SCHEDULES.get("steps")(0.1, 200_000, 1000, rates=rates)
    seen = [schedule(step) for step in (0, 149_999, 150_000, 179_999, 180_000, 199_999)]
    assert seen == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({5: 0.1}, r"^rates must say what holds from epoch 0 on, such as \{0: 0\.1\}$"),
        (
            {0: 0.05},
            r"^rates begins with 0\.05, but optimizer\.learning_rate is 0\.1; give both the same$",
        ),
    ],
)
def test_steps_and_the_optimiser_must_agree_on_the_first_rate(rates: dict[int, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SCHEDULES.get("steps")(0.1, 100, 10, rates=rates)


def test_exponential_falls_in_stairs_as_facenet_has_it_or_evenly() -> None:
    stairs = SCHEDULES.get("exponential")(0.1, 1000, 10, factor=0.5, every_epochs=0.3)
    expected = [0.1 * 0.5 ** (step // 3) for step in range(100)]
    assert [stairs(step) for step in range(100)] == pytest.approx(expected)
    evenly = SCHEDULES.get("exponential")(0.1, 1000, 10, factor=0.5, every_epochs=2, staircase=False)
    assert evenly(30) == pytest.approx(0.1 * 0.5**1.5)
