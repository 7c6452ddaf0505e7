"""torch's compiler is not imported by training, and is whole when somebody asks for it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# One process imports torch; what is tried is tried in forks of it.
START = """
import json, os, sys, traceback
import torch

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

def tried(code):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        said = ""
        try:
            exec(code, globals())
        except BaseException:
            said = traceback.format_exc()
        os.write(writing, said.encode()[-4000:])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        said = stream.read()
    _, status = os.waitpid(child, 0)
    return said or (f"status {status}" if status else "")

print(json.dumps({name: tried(code) for name, code in json.loads(sys.argv[1]).items()}))
"""
POSTPONED = """
from bench.uncompiled import postpone_compiler
postpone_compiler()
optimizer, weights = step(torch.optim.SGD)
assert not is_there()
"""
REAL = """
assert is_there()
assert sys.modules["torch._dynamo"] is torch._dynamo and type(torch._dynamo).__name__ == "module"
optimizer.zero_grad()
marked = vars(torch.optim.Optimizer.zero_grad.__wrapped__)["__dynamo_disable"]
assert marked is not torch.optim.Optimizer.zero_grad.__wrapped__
optimizer.step()
"""
USES = {
    "a module of it": "import torch._dynamo.config; assert torch._dynamo.config.recompile_limit",
    "a name of it": "from torch._dynamo import optimize, reset\nreset()",
    "its settings": "import torch._dynamo as compiler\ncompiler.config.suppress_errors = True\n"
    "assert torch._dynamo.config.suppress_errors",
    "a mark": "@torch.compiler.disable()\ndef f(x): return x\nassert f(1) == 1",
    "compile": "weights.sum().backward(); torch.compile(optimizer.step, backend='eager')()\n"
    "assert weights.tolist() == [0.0] * 3",
    "export": "program = torch.export.export(torch.nn.Linear(3, 2), (torch.ones(4, 3),))\n"
    "assert program.module()(torch.ones(4, 3)).shape == (4, 2)\nimport torch._dynamo.config",
}


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What was tried -> what went wrong; "" where nothing did."""
    others = "for name in ('Adam', 'AdamW', 'RMSprop', 'Adagrad'):\n    step(getattr(torch.optim, name))\n"
    codes = {
        "steps": POSTPONED + others + "assert not is_there()",
        "it was there": "import torch._dynamo\nreal = torch._dynamo\n"
        "from bench.uncompiled import postpone_compiler\npostpone_compiler()\nassert torch._dynamo is real",
        **{name: POSTPONED + use + REAL for name, use in USES.items()},
    }
    done = subprocess.run(
        [sys.executable, "-c", START, json.dumps(codes)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_a_step_imports_no_compiler(said: dict[str, str]) -> None:
    assert said["steps"] == ""


@pytest.mark.parametrize("use", USES)
def test_whoever_asks_for_more_gets_the_real_module_and_marks_come_back(
    said: dict[str, str], use: str
) -> None:
    assert said[use] == ""


def test_a_module_that_is_there_already_stays(said: dict[str, str]) -> None:
    assert said["it was there"] == ""
