"""How many GPUs and CPUs a trial takes on a cluster, how many fit: no cluster needed to count."""

from __future__ import annotations

import pytest

from bench.errors import UserError
from bench.study.config import StudySection
from bench.study.placement import Node, Share, choose_workers, num_places, share_of

TWO = [Node("10.0.0.1", 4, 32), Node("10.0.0.2", 8, 48)]


@pytest.mark.parametrize(
    ("settings", "nodes", "share"),
    [
        ({}, TWO, Share(1.0, 6)),  # of 32 / 4 and 48 / 8 the smaller, so that it fits on both
        ({"gpus_per_trial": 0.5}, TWO, Share(0.5, 3)),
        ({"gpus_per_trial": 2.0}, TWO, Share(2.0, 12)),
        ({"gpus_per_trial": 8.0}, TWO, Share(8.0, 48)),  # only the second node counts
        ({"gpus_per_trial": 0.0}, TWO, Share(0.0, 1)),
        ({"cpus_per_trial": 3}, TWO, Share(1.0, 3)),
        ({}, [Node("10.0.0.1", 0, 16)], Share(0.0, 1)),
        ({}, [Node("10.0.0.1", 0, 16), Node("10.0.0.2", 2, 1)], Share(1.0, 1)),
    ],
)
def test_what_is_left_open_follows_from_the_nodes(
    settings: dict[str, float], nodes: list[Node], share: Share
) -> None:
    assert share_of(StudySection(**settings), nodes) == share  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "places"),
    [
        (Share(1.0, 6), 4 + 8),
        (Share(1.0, 16), 2 + 3),  # the CPUs run out first
        (Share(0.5, 1), 8 + 16),
        (Share(0.4, 1), 8 + 16),  # a fraction never spans two GPUs
        (Share(1 / 3, 1), 12 + 24),
        (Share(3.0, 1), 1 + 2),
        (Share(16.0, 1), 0),  # nor a trial two nodes
        (Share(0.0, 1), 80),
    ],
)
def test_places_are_counted_node_by_node(share: Share, places: int) -> None:
    assert num_places(TWO, share) == places


def test_a_trial_has_a_process_for_each_gpu() -> None:
    assert [Share(gpus, 1).processes for gpus in (0.0, 0.5, 1.0, 4.0)] == [1, 1, 1, 4]


def test_workers_are_no_more_than_fit_nor_than_trials() -> None:
    share = Share(1.0, 6)
    assert choose_workers("auto", TWO, share, 100) == 12
    assert choose_workers("auto", TWO, share, 5) == 5
    assert choose_workers(3, TWO, share, 100) == 3
    with pytest.raises(UserError) as caught:
        choose_workers(13, TWO, share, 100)
    assert str(caught.value) == (
        "--workers 13: a trial takes 1 GPUs and 6 CPUs, so the cluster has room for 12 at a time"
    )
    with pytest.raises(UserError) as caught:
        choose_workers("auto", TWO, Share(16.0, 1), 100)
    assert str(caught.value) == (
        "--launcher ray: a trial takes 16 GPUs and 1 CPUs, and no node has that (the largest: 8 GPUs and 48 "
        "CPUs); set study.gpus_per_trial or study.cpus_per_trial"
    )


def test_a_fraction_or_a_whole_number_of_gpus() -> None:
    with pytest.raises(ValueError, match="must be a fraction of one GPU, or a whole number of them"):
        StudySection(gpus_per_trial=1.5)
