"""Sums of losses: weights, their schedule, and the names of parts."""

from typing import get_type_hints

import pytest
import torch

from losses import LOSSES, Choice, CrossBatchMemory, Softmax, SphereFace, Sum, Term, Triplet

LABELS = torch.tensor([0, 1, 0, 1, 2, 2])


def drawn() -> torch.Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def test_sum_is_the_weighted_sum_of_its_terms() -> None:
    loss = Sum(
        4,
        3,
        terms=(
            Term(Choice("softmax", {"bias": False}), weight=0.5),
            Term(Choice("triplet", {"alpha": 0.7, "mining": "all"}), weight=2.0),
        ),
    )
    softmax = Softmax(4, 3, bias=False)
    softmax.load_state_dict(loss.losses[0].state_dict())
    triplet = Triplet(alpha=0.7, mining="all")
    ours, theirs = drawn().requires_grad_(), drawn().requires_grad_()
    output = loss(ours, LABELS)
    first, second = softmax(theirs, LABELS), triplet(theirs, LABELS)
    expected = 0.5 * first.total + 2.0 * second.total
    torch.testing.assert_close(output.total, expected)
    torch.testing.assert_close(torch.autograd.grad(output.total, ours), torch.autograd.grad(expected, theirs))
    torch.testing.assert_close(output.parts["cross_entropy"], 0.5 * first.total.detach())
    torch.testing.assert_close(output.parts["triplet"], 2.0 * second.total.detach())
    assert set(output.monitors) == set(first.monitors) | set(second.monitors)


def test_by_default_it_is_cross_entropy_and_triplets() -> None:
    assert [type(loss) for loss in Sum(4, 3).losses] == [Softmax, Triplet]


def test_weights_start_and_warm_up() -> None:
    late = Term(Choice("triplet"), weight=2.0, start_epoch=1.0, warmup_epochs=2.0)
    assert [late.weight_at(epoch) for epoch in (0.0, 0.99, 1.0, 2.0, 3.0, 9.0)] == [0, 0, 0, 1, 2, 2]
    at_once = Term(Choice("triplet"), weight=2.0, start_epoch=1.0)
    assert [at_once.weight_at(epoch) for epoch in (0.99, 1.0)] == [0, 2]
    loss = Sum(4, 3, terms=(Term(Choice("softmax")), late))
    parts = []
    for epoch in (0.0, 2.0, 3.0):
        loss.set_progress(epoch)
        parts.append(loss(drawn(), LABELS).parts["triplet"].item())
    assert parts[0] == 0.0 and parts[2] == pytest.approx(2 * parts[1]) and parts[1] > 0.0


def test_progress_reaches_the_terms() -> None:
    annealed = Choice("sphereface", {"annealing_epochs": 2.0})
    loss = Sum(4, 3, terms=(Term(annealed),))
    loss.set_progress(2.0)
    (inner,) = loss.losses
    assert isinstance(inner, SphereFace) and inner.plain_share == 5.0


def test_names_that_are_taken_get_the_number_of_their_term() -> None:
    terms = tuple(Term(Choice("triplet", {"mining": mining})) for mining in ("all", "hard", "semi_hard"))
    output = Sum(4, 3, terms=terms)(drawn(), LABELS)
    assert list(output.parts) == ["triplet", "triplet_1", "triplet_2"]
    assert {"active_share", "active_share_1", "active_share_2"} <= set(output.monitors)


def test_a_sum_needs_terms_and_weights_in_their_bounds() -> None:
    with pytest.raises(ValueError, match="terms must hold at least one loss"):
        Sum(4, 3, terms=())
    with pytest.raises(ValueError, match="weight must be a number >= 0, but got -1"):
        Term(Choice("softmax"), weight=-1)


def test_options_tell_which_registry_a_choice_is_from() -> None:
    for owner in (Term, CrossBatchMemory.__init__):
        annotation = get_type_hints(owner, include_extras=True)["loss"]
        assert annotation.__origin__ is Choice and annotation.__metadata__ == (LOSSES,)
    assert LOSSES.options("sum")["terms"][0] == tuple[Term, ...]
