"""Training in fp16: the loss is multiplied, so that small gradients are not rounded to zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_GROWTH, _BACKOFF, _INTERVAL = 2.0, 0.5, 2000  # as torch.amp.GradScaler


class LossScale:
    """The factor: halved when a gradient overflows, doubled after 2000 steps in a row without.

    The rule is that of torch.amp.GradScaler. The decision is the caller's, who knows the gradient of all
    processes; a step that overflows is left out on all of them.

    Args:
        scale: at the start.
    """

    def __init__(self, scale: float = 65536.0) -> None:
        self.scale = scale
        self._good_steps = 0

    def scaled(self, total: Tensor) -> Tensor:
        """The loss to go back from."""
        return total * self.scale

    @torch.no_grad()
    def unscale(self, gradients: Sequence[Tensor]) -> None:
        """Make them those of the loss itself, in place."""
        if gradients:
            torch._foreach_mul_(list(gradients), 1.0 / self.scale)

    def update(self, *, finite: bool) -> None:
        """Take whether the gradient of a step was finite."""
        self._good_steps = self._good_steps + 1 if finite else 0
        if not finite:
            self.scale *= _BACKOFF
        elif self._good_steps == _INTERVAL:
            self.scale *= _GROWTH
            self._good_steps = 0

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"scale": self.scale, "good_steps": self._good_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from there."""
        self.scale, self._good_steps = state["scale"], state["good_steps"]
