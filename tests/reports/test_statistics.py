import math

import numpy as np
import pytest
from scipy import stats

from reports.statistics import average_p, mean, paired_test, t_inside, t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 12, 29])
def test_students_t_is_scipys(freedom: int) -> None:
    for t in (0.0, 0.3, 1.0, 2.5, 20.0):
        assert t_inside(t, freedom) == pytest.approx(1 - 2 * stats.t.sf(t, freedom), abs=1e-13)
    for probability in (0.6, 0.975, 0.9995):
        assert t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-9)


def test_interval_of_a_mean_is_scipys() -> None:
    values = [0.981, 0.985, 0.979, 0.99]
    found = mean(values)
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.std == pytest.approx(np.std(values, ddof=1))


def test_paired_test_is_scipys() -> None:
    first, second = np.array([0.98, 0.985, 0.99]), np.array([0.97, 0.981, 0.984])
    found = paired_test(list(first - second))
    assert found.p == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_one_seed_has_no_interval_and_says_why() -> None:
    found = mean([0.98])
    assert (found.value, found.reason) == (0.98, "one seed says nothing about others")
    assert math.isnan(found.low)
    assert math.isnan(paired_test([0.01]).p)


def test_an_undefined_seed_makes_the_mean_undefined() -> None:
    found = mean([0.98, math.nan])
    assert math.isnan(found.value)
    assert found.reason == "undefined for one of the seeds"


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    draw = np.random.default_rng(0)
    covered = [
        found.low < 0.5 < found.high
        for values in draw.normal(0.5, 0.1, (2000, 3))
        for found in [mean(values.tolist())]
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_differences_that_are_all_equal_are_no_proof() -> None:
    assert paired_test([0.0, 0.0]).p == 1.0
    assert math.isnan(paired_test([0.25, 0.25]).p)


def test_average_p_is_twice_the_mean_and_one_test_stays_itself() -> None:
    assert average_p([0.5, 0.9]) == 1.0
    assert average_p([0.04]) == 0.04
    assert average_p([0.01, math.nan, 0.02]) == pytest.approx(0.03)
    assert math.isnan(average_p([]))


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^a mean needs at least one value$"):
        mean([])
