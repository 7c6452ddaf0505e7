"""Optimisers by name: a factory takes parameter groups; its keyword-only options are the configuration's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from bench.tensorflow_optim import TensorFlowAdam, TensorFlowRMSprop
from losses.registry import Registry
from losses.types import NonNegative, Positive, Probability

Groups = list[dict[str, Any]]
Convention = Literal["torch", "tensorflow"]

OPTIMIZERS: Registry[torch.optim.Optimizer] = Registry("optimizer")


def parameter_groups(modules: Iterable[nn.Module], *, decay_norms: bool) -> Groups:
    """Parameters in two groups: those that weight decay shrinks, and those it leaves alone.

    Args:
        modules: backbone and loss.
        decay_norms: True shrinks everything; False spares biases and the scales of normalisation layers
            (all parameters of fewer than two dimensions).
    """
    shrunk: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad:
                (shrunk if decay_norms or parameter.ndim >= 2 else spared).append(parameter)
    groups: Groups = [{"params": shrunk}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def load_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Continue from `optimizer.state_dict()` of another one, with this one's kernels: devices may differ."""
    groups = [
        {**saved, "fused": own["fused"]} if "fused" in own else saved
        for own, saved in zip(optimizer.param_groups, state["param_groups"], strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})


def _in_one_pass(groups: Groups, devices: tuple[str, ...] = ("cpu", "cuda")) -> bool:
    """Whether torch's fused kernels can make the step: in a third of the time, equal but for rounding.

    On a CPU they take for granted that a gradient lies in memory as its parameter does. Autograd promises it
    for parameters without gaps ("Default gradient layouts" in the documentation of torch.autograd).
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    return all(
        parameter.device.type in devices and parameter.is_floating_point() and _is_without_gaps(parameter)
        for parameter in parameters
    )


def _is_without_gaps(parameter: nn.Parameter) -> bool:
    by_pixel = parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    return by_pixel or parameter.is_contiguous()


@OPTIMIZERS.register
def sgd(
    groups: Groups,
    *,
    learning_rate: Positive = 0.1,
    weight_decay: NonNegative = 5e-4,
    decay_norms: bool = True,
    momentum: Probability = 0.9,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum; facenet's MOM is 0.9 with Nesterov's."""
    # not in one pass: torch's kernel wants the momentum of all parameters or of none, and some may be frozen
    return torch.optim.SGD(
        groups, lr=learning_rate, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov
    )


@OPTIMIZERS.register
def adam(
    groups: Groups,
    *,
    learning_rate: Positive = 1e-3,
    weight_decay: NonNegative = 0.0,
    decay_norms: bool = True,
    epsilon: Positive = 1e-8,
    convention: Convention = "torch",
) -> torch.optim.Optimizer:
    """Adam; its weight decay enters the gradient. facenet's is epsilon 0.1 in TensorFlow's convention.

    Args:
        groups: of parameters.
        learning_rate: base rate; the schedule decides the rest.
        weight_decay: weights times this are added to the gradient.
        decay_norms: False spares biases and norms, as facenet does.
        epsilon: keeps the step finite; as large as 0.1 it also makes it smaller.
        convention: torch adds epsilon to the bias-corrected root, tensorflow to the raw one: with a small
            epsilon there is no difference, with 0.1 tensorflow's first step is a tenth as long.
    """
    if convention == "tensorflow":
        return TensorFlowAdam(groups, lr=learning_rate, weight_decay=weight_decay, epsilon=epsilon)
    return torch.optim.Adam(
        groups, lr=learning_rate, weight_decay=weight_decay, eps=epsilon, fused=_in_one_pass(groups)
    )


@OPTIMIZERS.register
def adamw(
    groups: Groups,
    *,
    learning_rate: Positive = 1e-3,
    weight_decay: NonNegative = 0.05,
    decay_norms: bool = False,
    epsilon: Positive = 1e-8,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019, arXiv 1711.05101)."""
    return torch.optim.AdamW(
        groups, lr=learning_rate, weight_decay=weight_decay, eps=epsilon, fused=_in_one_pass(groups)
    )


@OPTIMIZERS.register
def adagrad(
    groups: Groups,
    *,
    learning_rate: Positive = 0.1,
    weight_decay: NonNegative = 0.0,
    decay_norms: bool = False,
    initial_accumulator: NonNegative = 0.1,
) -> torch.optim.Optimizer:
    """Adagrad (Duchi et al., JMLR 2011), facenet's default; its sum of squares starts as TensorFlow's does.

    Args:
        groups: of parameters.
        learning_rate: base rate; the schedule decides the rest.
        weight_decay: weights times this are added to the gradient.
        decay_norms: False spares biases and norms, as facenet does.
        initial_accumulator: the sum of squared gradients before the first step; torch's own default is 0,
            with which the first step has the full rate in every coordinate.
    """
    return torch.optim.Adagrad(
        groups,
        lr=learning_rate,
        weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator,
        fused=_in_one_pass(groups, devices=("cpu",)),
    )


@OPTIMIZERS.register
def rmsprop(
    groups: Groups,
    *,
    learning_rate: Positive = 0.1,
    weight_decay: NonNegative = 0.0,
    decay_norms: bool = False,
    decay: Probability = 0.9,
    momentum: Probability = 0.9,
    epsilon: Positive = 1.0,
    convention: Convention = "tensorflow",
) -> torch.optim.Optimizer:
    """RMSprop with momentum; the defaults are facenet's hidden constants.

    Args:
        groups: of parameters.
        learning_rate: base rate; the schedule decides the rest.
        weight_decay: weights times this are added to the gradient.
        decay_norms: False spares biases and norms, as facenet does.
        decay: share of the old mean square that a step keeps (torch's alpha).
        momentum: of the scaled gradients.
        epsilon: keeps the step finite; 1 makes it little more than plain momentum.
        convention: tensorflow adds epsilon to the mean square, lets that start at 1 and takes the rate into
            the momentum; torch adds epsilon to the root, starts at 0 and multiplies by the rate last.
    """
    if convention == "tensorflow":
        return TensorFlowRMSprop(
            groups,
            lr=learning_rate,
            weight_decay=weight_decay,
            decay=decay,
            momentum=momentum,
            epsilon=epsilon,
        )
    return torch.optim.RMSprop(
        groups, lr=learning_rate, weight_decay=weight_decay, alpha=decay, momentum=momentum, eps=epsilon
    )
