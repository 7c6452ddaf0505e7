"""torch's compiler is not imported by training, and is whole when somebody asks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = """
import sys, torch
from bench.uncompiled import postpone_compiler
postpone_compiler()
def step(optimizer):
    weights = torch.nn.Parameter(torch.ones(3))
    optimizer = optimizer([weights], lr=0.5)
    weights.sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
    assert not (weights == 1.0).any() and weights.grad is None
    return optimizer, weights
def is_there():
    return "torch._dynamo.convert_frame" in sys.modules
optimizer, weights = step(torch.optim.SGD)
assert not is_there()
"""
REAL = """
assert is_there()
assert sys.modules["torch._dynamo"] is torch._dynamo and type(torch._dynamo).__name__ == "module"
optimizer.step()
"""


def in_a_new_process(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_step_imports_no_compiler() -> None:
    in_a_new_process(
        START
        + "for name in ('Adam', 'AdamW', 'RMSprop', 'Adagrad'):\n"
        + "    step(getattr(torch.optim, name))\n"
        + "assert not is_there()"
    )


@pytest.mark.parametrize(
    "use",
    [
        "import torch._dynamo.config; assert torch._dynamo.config.recompile_limit",
        "@torch.compiler.disable()\ndef f(x): return x\nassert f(1) == 1",
        "weights.sum().backward(); torch.compile(optimizer.step, backend='eager')()\n"
        "assert weights.tolist() == [0.0] * 3",
    ],
)
def test_whoever_asks_for_more_gets_the_real_module(use: str) -> None:
    in_a_new_process(f"{START}{use}{REAL}")


def test_a_module_that_is_there_already_stays() -> None:
    in_a_new_process(
        "import torch, torch._dynamo\nreal = torch._dynamo\n"
        "from bench.uncompiled import postpone_compiler\npostpone_compiler()\n"
        "assert torch._dynamo is real"
    )
