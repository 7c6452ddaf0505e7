"""Adam and RMSprop as TensorFlow 1 computes them, for recipes whose constants were chosen there.

torch's own put epsilon elsewhere. With 1e-8 nobody sees it; facenet's epsilons are 0.1 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class TensorFlowAdam(Optimizer):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  w <- w - r_t m / (sqrt(v) + epsilon).

    r_t = lr sqrt(1 - b2^t) / (1 - b1^t), b1 = 0.9, b2 = 0.999. torch divides sqrt(v) by sqrt(1 - b2^t) before
    it adds epsilon, which is then 32 times smaller beside it at the first step.

    Source: Kingma and Ba, Adam, ICLR 2015, arXiv 1412.6980v9, end of section 2; tf.train.AdamOptimizer of
    TensorFlow 1 ("epsilon hat").
    """

    def __init__(
        self, groups: list[dict[str, Any]], *, lr: float, weight_decay: float, epsilon: float
    ) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "epsilon": epsilon})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; no closure is taken."""
        beta1, beta2 = 0.9, 0.999
        for parameter, gradient, group in _gradients(self):
            state = self.state[parameter]
            if not state:
                state["step"] = 0
                state["mean"] = torch.zeros_like(parameter)
                state["square"] = torch.zeros_like(parameter)
            state["step"] += 1
            mean = state["mean"].lerp_(gradient, 1 - beta1)
            square = state["square"].lerp_(gradient.square(), 1 - beta2)
            rate = group["lr"] * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
            parameter.addcdiv_(mean, square.sqrt().add_(group["epsilon"]), value=-rate)


class TensorFlowRMSprop(Optimizer):
    """s <- d s + (1 - d) g^2, from s = 1;  u <- m u + lr g / sqrt(s + epsilon);  w <- w - u.

    torch adds epsilon to the root, starts from s = 0 and keeps lr out of u: there a drop of the rate acts at
    once on the momentum that has gathered, here it does not.

    Source: tf.train.RMSPropOptimizer of TensorFlow 1; Tieleman and Hinton, Coursera lecture 6e, 2012.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float,
        decay: float,
        momentum: float,
        epsilon: float,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "decay": decay,
            "momentum": momentum,
            "epsilon": epsilon,
        }
        super().__init__(groups, defaults)
        for group in self.param_groups:  # now: a step may be given some rows of a table (rows.py)
            for parameter in group["params"]:
                self.state[parameter]["square"] = torch.ones_like(parameter)
                self.state[parameter]["update"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; no closure is taken."""
        for parameter, gradient, group in _gradients(self):
            state = self.state[parameter]
            square = state["square"].lerp_(gradient.square(), 1 - group["decay"])
            root = (square + group["epsilon"]).sqrt_()
            update = state["update"].mul_(group["momentum"]).addcdiv_(gradient, root, value=group["lr"])
            parameter.sub_(update)


def _gradients(optimizer: Optimizer) -> Iterator[tuple[Tensor, Tensor, dict[str, Any]]]:
    """Every parameter that has a gradient, that gradient with weight decay in it, and its group."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                yield parameter, parameter.grad.add(parameter, alpha=group["weight_decay"]), group
