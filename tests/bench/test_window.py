"""The values of the steps between two lines of metrics.jsonl."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench.window import Window
from losses import LossOutput


def output_of(step: int) -> LossOutput:
    total = torch.tensor(float(step), requires_grad=True) * 2
    spread = torch.tensor(math.nan if step % 3 else step / 7)
    return LossOutput(total, {"part": total.detach()}, {"spread": spread, "count": torch.tensor(step)})


def filled(window: Window, steps: range) -> Window:
    for step in steps:
        window.add(output_of(step), {"learning_rate": step / 10}, images=8)
    return window


def test_values_are_those_of_their_step_though_a_loss_writes_over_them() -> None:
    window, buffer = Window(), torch.zeros(())
    for step in range(4):
        buffer.fill_(step)
        window.add(LossOutput(torch.tensor(1.0), {"mean": buffer}), {}, images=1)
    assert window.means()["train/mean"] == 1.5


def test_numbers_of_other_types_have_their_mean_too() -> None:
    window = Window()
    monitors = {"whole": torch.tensor(3), "yes": torch.tensor(True), "wide": torch.tensor(2.5).double()}
    window.add(LossOutput(torch.tensor(1.0), {"plain": 4.0}, monitors), {}, images=1)  # type: ignore[dict-item]
    found = window.means()
    del found["train/images_per_s"]
    assert found == {"train/loss": 1, "train/plain": 4, "train/whole": 3, "train/yes": 1, "train/wide": 2.5}


# 64 is where values are joined on the way
@pytest.mark.parametrize("steps", [1, 10, 64, 65, 150])
def test_a_line_is_the_mean_of_its_steps(steps: int) -> None:
    window = filled(Window(), range(200, 200 + 7))
    window.means()  # an earlier line leaves nothing behind
    found = filled(window, range(steps)).means()
    assert found.pop("train/images_per_s") > 0
    numbers = np.arange(steps)
    expected = {
        "train/loss": 2 * numbers.mean(),
        "train/part": 2 * numbers.mean(),
        "train/spread": numbers[::3].astype(np.float32).mean() / 7,  # over the steps that define it
        "train/count": numbers.mean(),
        "train/learning_rate": numbers.mean() / 10,
    }
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("cut", [0, 3, 64, 70])
def test_a_window_that_a_checkpoint_cuts_gives_the_line_that_it_would_have_given(cut: int) -> None:
    whole = filled(Window(), range(100)).means()
    state = filled(Window(), range(cut)).state_dict()
    resumed = filled(Window(), range(5))  # what it holds is forgotten
    resumed.load_state_dict(state)
    assert resumed.state_dict()["names"] == state["names"]
    found = filled(resumed, range(cut, 100)).means()
    del whole["train/images_per_s"], found["train/images_per_s"]
    assert found == whole
