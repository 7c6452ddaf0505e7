"""Monitors of pair losses against numpy and against geometry that is known."""

import math

import numpy as np
import pytest
import torch

from losses.distances import squared_distances
from losses.mining import Comparison, compare
from losses.monitors import distance_percentiles, spread


def comparison(unit: torch.Tensor, labels: torch.Tensor, *, squared: bool) -> Comparison:
    distances = squared_distances(unit, unit)
    distances = distances if squared else distances.sqrt()
    return compare(distances, labels, labels, alpha=0.2, squared=squared, embedding_dim=unit.shape[1])


@pytest.mark.parametrize("squared", [True, False])
def test_percentiles_equal_numpy_and_are_squared_whatever_the_loss_uses(squared: bool) -> None:
    torch.manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(40, 8, dtype=torch.float64))
    labels = torch.randint(0, 6, (40,))
    found = distance_percentiles(comparison(unit, labels, squared=squared))
    d = np.square(unit.numpy()[:, None] - unit.numpy()[None]).sum(-1)
    same = labels.numpy()[:, None] == labels.numpy()[None]
    for name, chosen in (("d_ap", same & ~np.eye(40, dtype=bool)), ("d_an", ~same)):
        for percent in (5, 50, 95):
            # between two samples the plain distance is interpolated before it is squared
            expected = np.percentile(d[chosen] if squared else np.sqrt(d[chosen]), percent)
            expected = expected if squared else expected**2
            assert found[f"{name}_p{percent}"].item() == pytest.approx(expected, rel=1e-9)


def test_percentiles_of_a_large_batch_are_near_those_of_all_pairs() -> None:
    torch.manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(1200, 4))
    labels = torch.arange(1200) // 8
    found = distance_percentiles(comparison(unit, labels, squared=True))
    d = torch.cdist(unit, unit).square()
    apart = d[labels[:, None] != labels[None]]
    assert found["d_an_p50"].item() == pytest.approx(apart[::50].median().item(), rel=0.05)


def test_percentiles_without_pairs_are_not_defined() -> None:
    found = distance_percentiles(comparison(torch.eye(3), torch.tensor([0, 1, 2]), squared=True))
    assert all(math.isnan(found[f"d_ap_p{percent}"]) for percent in (5, 50, 95))
    assert found["d_an_p50"] == 2.0


def test_spread_of_one_point_is_none() -> None:
    found = spread(torch.tensor([[1.0, 0.0]]).expand(5, 2))
    assert found["embedding_std"] == 0.0 and found["effective_rank"] == 0.0


def test_spread_of_opposite_axes_is_full_and_of_rank_d() -> None:
    found = spread(torch.cat([torch.eye(4), -torch.eye(4)]))
    assert found["embedding_std"].item() == pytest.approx(1.0)
    assert found["effective_rank"].item() == pytest.approx(4.0)


@pytest.mark.parametrize("shape", [(20, 5), (5, 20)])
def test_effective_rank_is_the_participation_ratio_of_the_covariance(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    unit = torch.nn.functional.normalize(torch.randn(shape, dtype=torch.float64))
    values = np.linalg.eigvalsh(np.cov(unit.numpy().T, bias=True))
    found = spread(unit)
    assert found["effective_rank"].item() == pytest.approx(values.sum() ** 2 / (values**2).sum())
    assert found["embedding_std"].item() == pytest.approx(math.sqrt(values.sum()))
