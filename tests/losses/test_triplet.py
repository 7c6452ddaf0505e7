"""The triplet loss against loops over all triplets in float64."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from losses import Triplet, triplet_sum

MININGS = ("all", "hard", "semi_hard", "semi_hard_all")


def faces(num_identities: int, images: int, dim: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Embeddings with identities that overlap, in mixed order."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_identities).repeat_interleave(images)
    centers = torch.randn(num_identities, dim, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(labels), dim, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(labels), generator=generator)
    return (centers[labels] + 0.6 * noise)[order], labels[order] * 7 - 3


def loops(
    embeddings: Tensor,
    labels: Tensor,
    mining: str,
    alpha: float,
    squared: bool,
    average: str,
    soft: bool = False,
) -> tuple[Tensor, int, int]:
    """Definition, one triplet at a time: loss, active triplets, mined triplets."""
    unit = embeddings / embeddings.square().sum(1, keepdim=True).sqrt()
    everyone = range(len(labels))

    def distance(left: int, right: int) -> Tensor:
        square = ((unit[left] - unit[right]) ** 2).sum()
        return square if squared else square.sqrt()

    d = {
        pair: distance(*pair)
        for pair in itertools.combinations_with_replacement(everyone, 2)
        if pair[0] != pair[1]
    }
    d |= {(right, left): value for (left, right), value in d.items()}
    mined = []
    for a in everyone:
        positives = [p for p in everyone if p != a and labels[p] == labels[a]]
        negatives = [n for n in everyone if labels[n] != labels[a]]
        if not positives or not negatives:
            continue
        if mining == "hard":
            farthest = max(positives, key=lambda p: d[a, p].item())
            mined.append((a, farthest, min(negatives, key=lambda n: d[a, n].item())))
        for p in positives:
            band = [n for n in negatives if d[a, p] < d[a, n] < d[a, p] + alpha]
            if mining == "all":
                mined += [(a, p, n) for n in negatives]
            elif mining == "semi_hard_all":
                mined += [(a, p, n) for n in band]
            elif mining == "semi_hard" and band:
                mined.append((a, p, min(band, key=lambda n: d[a, n].item())))
    gaps = [d[a, p] - d[a, n] for a, p, n in mined]
    if soft:
        terms = [torch.log(1.0 + torch.exp(gap)) for gap in gaps]
        return torch.stack(terms).mean(), sum(gap.item() > 0 for gap in gaps), len(mined)
    penalties = [torch.clamp(gap + alpha, min=0.0) for gap in gaps]
    active = sum(penalty.item() > 0 for penalty in penalties)
    count = active if average == "active" else len(mined)
    return torch.stack(penalties).sum() / count, active, len(mined)


@pytest.mark.parametrize("average", ["active", "all"])
@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("mining", MININGS)
def test_triplet_value_and_gradient_equal_loops(mining: str, squared: bool, average: str) -> None:
    # images = 9: more than four triplets an anchor, which takes another way through the code
    for num_identities, images, alpha in ((4, 3, 0.2), (3, 9, 0.4)):
        embeddings, labels = faces(num_identities, images)
        ours, theirs = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
        loss = Triplet(alpha=alpha, mining=mining, squared=squared, average=average)
        total = loss(ours, labels).total
        expected, active, mined = loops(theirs, labels, mining, alpha, squared, average)
        assert active > 0 and (active < mined or mining.startswith("semi"))
        torch.testing.assert_close(total, expected)
        torch.testing.assert_close(
            torch.autograd.grad(total, ours), torch.autograd.grad(expected, theirs), rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("mining", MININGS)
def test_soft_margin_value_and_gradient_equal_loops(mining: str, squared: bool) -> None:
    for num_identities, images, alpha in ((4, 3, 0.2), (3, 9, 0.4)):
        embeddings, labels = faces(num_identities, images)
        ours, theirs = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
        loss = Triplet(alpha=alpha, mining=mining, squared=squared, margin="soft")
        output = loss(ours, labels)
        expected, wrong, mined = loops(theirs, labels, mining, alpha, squared, "all", soft=True)
        torch.testing.assert_close(output.total, expected)
        torch.testing.assert_close(
            torch.autograd.grad(output.total, ours),
            torch.autograd.grad(expected, theirs),
            rtol=1e-6,
            atol=1e-9,
        )
        if mining in ("all", "hard"):
            assert output.monitors["active_share"].item() == pytest.approx(wrong / mined)


@pytest.mark.parametrize("mining", MININGS)
def test_active_share_is_active_triplets_over_candidates(mining: str) -> None:
    embeddings, labels = faces(5, 4)
    _, active, mined = loops(embeddings, labels, mining, 0.3, True, "all")
    candidates = {"all": mined, "hard": 20, "semi_hard": 20 * 3, "semi_hard_all": 20 * 3 * 16}[mining]
    share = Triplet(alpha=0.3, mining=mining)(embeddings, labels).monitors["active_share"]
    assert share.item() == pytest.approx(active / candidates)


def test_many_triplets_do_not_lose_precision_or_overflow() -> None:
    """1024 images of 4 people: 200 million triplets, against blocks of differences in float64."""
    embeddings, labels = faces(4, 256, dim=16)
    embeddings = embeddings.float()
    total = Triplet(alpha=2.0, mining="all", average="all")(embeddings, labels).total
    unit = torch.nn.functional.normalize(embeddings.double())
    d = torch.cdist(unit, unit).square()
    same = labels[:, None] == labels[None, :]
    expected = count = 0.0
    for a in range(len(labels)):
        own = same[a].clone()
        own[a] = False
        gaps = d[a, own][:, None] - d[a, ~same[a]][None, :] + 2.0
        expected += gaps.clamp_min(0.0).sum().item()
        count += gaps.numel()
    assert total.item() == pytest.approx(expected / count, rel=1e-6)


@pytest.mark.parametrize(("above", "below"), [(-math.inf, 0.3), (0.0, 0.3), (0.0, 0.1), (0.0, math.inf)])
def test_searching_and_comparing_count_the_same_triplets(
    above: float, below: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole numbers, so exactly; distances rounded so that many are equal, and several blocks of rows."""
    monkeypatch.setattr(triplet_sum, "_SEARCHED", 300)
    monkeypatch.setattr(triplet_sum, "BLOCK", 300)
    generator = torch.Generator().manual_seed(0)
    positives = (torch.rand(40, 7, generator=generator) * 20).round() / 20
    positives[torch.rand(40, 7, generator=generator) < 0.3] = -math.inf
    negatives = (torch.rand(40, 50, generator=generator) * 20).round() / 20
    negatives[torch.rand(40, 50, generator=generator) < 0.2] = math.inf
    ways = (triplet_sum._count_by_search, triplet_sum._count_by_comparison)
    searched, compared = (way(positives, negatives, above=above, below=below) for way in ways)
    assert torch.equal(searched[0], compared[0]) and torch.equal(searched[1], compared[1])
    assert searched[0].any()


@pytest.mark.parametrize("mining", ["all", "semi_hard_all"])
def test_identities_of_many_images_equal_loops(mining: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """25 images each, searched among the sorted positives."""
    monkeypatch.setattr(triplet_sum, "_MANY_POSITIVES", 24)
    embeddings, labels = faces(2, 25)
    ours, theirs = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    total = Triplet(alpha=0.3, mining=mining)(ours, labels).total  # type: ignore[arg-type]
    expected, _, _ = loops(theirs, labels, mining, 0.3, True, "active")
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(
        torch.autograd.grad(total, ours), torch.autograd.grad(expected, theirs), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("mining", MININGS)
def test_far_identities_leave_nothing_active(mining: str) -> None:
    embeddings = torch.eye(4).repeat_interleave(3, 0).requires_grad_()
    output = Triplet(mining=mining)(embeddings, torch.arange(4).repeat_interleave(3))
    output.total.backward()
    assert output.total == 0.0 and not embeddings.grad.any()
    assert output.monitors["active_share"] == 0.0
    assert output.monitors["empty"] == float(mining.startswith("semi_hard"))


@pytest.mark.parametrize("mining", MININGS)
def test_without_positives_the_step_is_zero_and_says_empty(mining: str) -> None:
    embeddings = torch.randn(6, 4, requires_grad=True)
    output = Triplet(mining=mining)(embeddings, torch.arange(6))
    output.total.backward()
    assert output.total == 0.0 and not embeddings.grad.any()
    assert output.monitors["empty"] == 1.0 and output.monitors["active_share"].isnan()


@pytest.mark.parametrize("mining", ["all", "hard"])
def test_plain_distance_of_equal_images_has_a_finite_gradient(mining: str) -> None:
    embeddings, labels = faces(3, 3)
    embeddings = embeddings.float()
    embeddings[1:] = embeddings[0]
    embeddings.requires_grad_()
    total = Triplet(mining=mining, squared=False)(embeddings, labels).total
    total.backward()
    assert total.item() == pytest.approx(0.2, abs=1e-3)
    assert embeddings.grad.abs().max() < 1.0


def test_plain_distance_gradient_is_bounded_between_near_duplicates() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 1e-6], [0.0, 1.0], [0.0, -1.0]], requires_grad=True)
    Triplet(mining="all", squared=False, alpha=3.0)(embeddings, torch.tensor([0, 0, 1, 1])).total.backward()
    assert embeddings.grad.isfinite().all() and embeddings.grad.abs().max() < 2.0


def test_float32_gradient_is_near_float64() -> None:
    embeddings, labels = faces(16, 4, dim=32)
    for mining in MININGS:
        gradients = []
        for inputs in (embeddings.clone().requires_grad_(), embeddings.float().requires_grad_()):
            total = Triplet(mining=mining)(inputs, labels).total
            gradients += [torch.autograd.grad(total, inputs)[0].double()]
        assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[0].norm()


def test_an_unknown_mining_names_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"mining must be one of .*, but got 'semihard'; did you mean 'semi_hard'"
    ):
        Triplet(mining="semihard")  # type: ignore[arg-type]


@pytest.mark.parametrize(("margin", "stuck"), [("hinge", 0.2), ("soft", math.log(2.0))])
def test_collapsed_embeddings_leave_the_loss_at_the_margin(margin: str, stuck: float) -> None:
    embeddings = torch.ones(12, 4) + 1e-4 * torch.randn(12, 4)
    output = Triplet(mining="all", margin=margin)(embeddings, torch.arange(12) // 3)
    assert output.total.item() == pytest.approx(stuck, rel=1e-3)
    assert output.monitors["loss_to_collapse"].item() == pytest.approx(1.0, rel=1e-3)
    assert output.monitors["embedding_std"] < 1e-3


def test_value_by_hand() -> None:
    """Anchor (1,0), positive (0,1), negative (-1,0): d_ap = 2, d_an = 4, hinge at alpha 2.5 is 0.5."""
    embeddings = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    output = Triplet(alpha=2.5, mining="hard")(embeddings, torch.tensor([0, 0, 1]))
    # the other anchor (0,1): d_ap = 2, d_an = 2, hinge 2.5; the image of identity 1 has no positive
    assert output.total.item() == pytest.approx((0.5 + 2.5) / 2)
    assert output.monitors["d_ap_p50"].item() == pytest.approx(2.0)
    assert output.monitors["d_an_p50"].item() == pytest.approx((2.0 + 4.0) / 2)
    assert math.isfinite(output.monitors["effective_rank"])


def test_given_triplets_are_facenets_triplet_loss() -> None:
    torch.manual_seed(0)
    rows = torch.randn(18, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 1, 0, 2, 2, 0, 0, 0, 2, 3, 3, 1, 2, 2, 3])
    output = Triplet(mining="given", alpha=0.6, average="all")(rows, labels)
    output.total.backward()
    again = rows.detach().clone().requires_grad_()
    unit = again / again.square().sum(1, keepdim=True).sqrt()
    anchor, positive, negative = unit.reshape(6, 3, 5).unbind(1)
    gaps = ((anchor - positive) ** 2).sum(1) - ((anchor - negative) ** 2).sum(1) + 0.6
    assert 0 < int((gaps > 0).sum()) < 6, "the mean must be over inactive triplets too"
    expected = gaps.clamp(min=0.0).mean()
    expected.backward()
    torch.testing.assert_close(output.total, expected)
    torch.testing.assert_close(rows.grad, again.grad)
    assert output.monitors["active_share"].item() == pytest.approx(int((gaps > 0).sum()) / 6)


def test_an_embedding_of_length_zero_gets_no_gradient() -> None:
    embeddings = torch.randn(6, 4)
    embeddings[2] = 0.0
    embeddings.requires_grad_()
    Triplet(mining="hard", alpha=2.0)(embeddings, torch.arange(6) // 2).total.backward()
    assert embeddings.grad is not None
    assert not embeddings.grad[2].any() and embeddings.grad[3].any() and embeddings.grad.isfinite().all()
