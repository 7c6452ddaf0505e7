import numpy as np
import pytest

from bench.verification import find_hardest


@pytest.mark.parametrize("seed", range(5))
def test_the_hardest_pairs_are_those_of_a_plain_sort(seed: int) -> None:
    draw = np.random.default_rng(seed)
    distances, same = draw.random(200).round(2), draw.random(200) < 0.5
    hardest = find_hardest(distances, same, threshold=0.5, count=6)
    accepts = sorted(
        (d, i) for i, (d, s) in enumerate(zip(distances, same, strict=True)) if d < 0.5 and not s
    )
    rejects = sorted((-d, i) for i, (d, s) in enumerate(zip(distances, same, strict=True)) if d >= 0.5 and s)
    near = sorted((abs(d - 0.5), i) for i, d in enumerate(distances))
    assert hardest.false_accepts.tolist() == [i for _, i in accepts[:6]]
    assert hardest.false_rejects.tolist() == [i for _, i in rejects[:6]]
    assert hardest.at_threshold.tolist() == [i for _, i in near[:6]]
    assert (hardest.num_false_accepts, hardest.num_false_rejects) == (len(accepts), len(rejects))


def test_without_a_threshold_nothing_is_an_error() -> None:
    hardest = find_hardest([0.1, 0.9], [True, False], threshold=np.nan)
    assert (hardest.num_false_accepts, hardest.num_false_rejects, len(hardest.at_threshold)) == (0, 0, 0)


@pytest.mark.parametrize("distances", [[], [[0.1]]])
def test_anything_but_a_row_of_distances_is_refused(distances: list[float]) -> None:
    with pytest.raises(ValueError, match=r"^distances must have shape \(P,\) with P > 0, but got "):
        find_hardest(distances, [], threshold=0.5)
