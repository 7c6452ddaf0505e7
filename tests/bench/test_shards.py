"""Each process holds its rows of every table of classes, and nothing else is cut."""

from __future__ import annotations

import re

import pytest
import torch

from bench.distributed import World
from bench.errors import UserError
from bench.shards import MANY_CLASSES, Shards
from losses import LOSSES, ArcFace, Center, Loss, Softmax, Sum

WORLDS = [World(rank, 3) for rank in range(3)]


def shares(make: type[Loss], num_classes: int = 7) -> list[Loss]:
    losses: list[Loss] = []
    for world in WORLDS:
        torch.manual_seed(4)
        loss = make(5, num_classes)
        assert Shards(loss, world, wanted=True).is_divided
        losses.append(loss)
    return losses


@pytest.mark.parametrize("make", [Softmax, ArcFace, Center, Sum])
def test_the_rows_of_all_processes_are_those_of_one(make: type[Loss]) -> None:
    torch.manual_seed(4)
    whole = make(5, 7).state_dict()
    parts = [loss.state_dict() for loss in shares(make)]
    for name, value in whole.items():
        assert [len(part[name]) for part in parts] == [2, 2, 3]
        assert torch.equal(torch.cat([part[name] for part in parts]), value)


def test_a_state_of_one_process_is_cut_for_each() -> None:
    torch.manual_seed(9)
    whole = Center(5, 7).state_dict()
    parts = []
    for world in WORLDS:
        loss = Center(5, 7)
        shards = Shards(loss, world, wanted=True)
        loss.load_state_dict(shards.cut(whole))
        parts.append(loss.softmax.classifier.bias)
    assert torch.equal(torch.cat(parts), whole["softmax.classifier.bias"])


def test_an_optimisers_rows_are_cut_and_its_counts_are_not() -> None:
    whole = Softmax(5, 7)
    optimizer = torch.optim.Adam(whole.parameters())
    torch.manual_seed(2)
    whole(torch.randn(6, 5), torch.arange(6)).total.backward()
    optimizer.step()
    state = optimizer.state_dict()
    loss = Softmax(5, 7)
    shards = Shards(loss, WORLDS[1], wanted=True)
    own = torch.optim.Adam(loss.parameters())
    own.load_state_dict(shards.cut_optimizer(own, state))
    weight = own.state[loss.classifier.weight]
    assert torch.equal(weight["exp_avg"], state["state"][0]["exp_avg"][2:4])
    assert weight["step"] == 1


def test_many_classes_are_divided_unasked_and_few_are_not() -> None:
    for num_classes in (MANY_CLASSES - 1, MANY_CLASSES):
        shards = Shards(Softmax(2, num_classes), WORLDS[0], wanted=None)
        assert shards.is_divided == (num_classes == MANY_CLASSES)
    assert not Shards(Softmax(2, MANY_CLASSES), WORLDS[0], wanted=False).is_divided
    assert not Shards(Softmax(2, MANY_CLASSES), World(), wanted=True).is_divided


def test_fewer_classes_than_processes_are_refused() -> None:
    words = (
        "runtime.shard_classes: 2 classes cannot be divided among 3 processes; "
        "set runtime.shard_classes=false"
    )
    with pytest.raises(UserError, match=re.escape(words)):
        Shards(Softmax(5, 2), WORLDS[0], wanted=True)


def test_every_loss_with_a_row_a_class_says_so() -> None:
    for name in LOSSES.names():
        loss = LOSSES.build(name, {"embedding_dim": 5, "num_classes": 7}, {})
        divided = Shards(loss, WORLDS[0], wanted=True)
        # whatever still has a row for each of the seven classes would be held whole by all
        left = [key for key, value in loss.state_dict().items() if value.shape[:1] == (7,)]
        assert not left, f"{name}: {left}"
        assert divided.is_divided == any(
            module.class_rows for module in loss.modules() if isinstance(module, Loss)
        )
