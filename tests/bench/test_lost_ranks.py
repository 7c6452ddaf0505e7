"""Which process of a run is lost: said by those that are left, within seconds of the time-out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import Injected

# Forked from one process that has imported torch and computed nothing, as torchrun's would be otherwise.
PROGRAM = """\
import json, os, signal, socket, sys, time
from pathlib import Path

import torch

from bench.distributed import join_world
from bench.errors import BenchError

size, lost, how, timeout_s, folder = sys.argv[1:]
size, lost, timeout_s = int(size), int(lost), float(timeout_s)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
children = []
for rank in range(size):
    child = os.fork()
    if child:
        children.append(child)
        continue
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    code = 0
    try:
        with join_world(timeout_s) as world:
            world.sum(torch.ones(1))
            if rank == lost and how == "hangs":
                time.sleep(1000)
            if rank == lost and how == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            world.any(rank == 0)
    except BenchError as error:
        code = error.exit_code
        (Path(folder) / f"{rank}.json").write_text(json.dumps(str(error)))
        time.sleep(4)  # as a launcher does not end the others at once
    os._exit(code)
codes = {}
while len(codes) < size - 1:
    pid, status = os.wait()
    if children.index(pid) != lost:
        codes[children.index(pid)] = os.waitstatus_to_exitcode(status)
if how == "hangs":
    os.kill(children[lost], signal.SIGKILL)
print(json.dumps(codes))
"""


@pytest.mark.parametrize(
    ("size", "how", "words"),
    [
        (2, "hangs", "rank 1 did not come in time (runtime.timeout_s): "),
        (3, "hangs", "rank 1 did not come in time (runtime.timeout_s): "),
        (3, "dies", "rank 1 died: "),
    ],
)
def test_those_that_are_left_name_the_one_that_is_lost(
    tmp_path: Path, injected: Injected, size: int, how: str, words: str
) -> None:
    program = tmp_path / "ranks.py"
    program.write_text(PROGRAM)
    injected(f"a rank {how}", "the steps since the last checkpoint, done again")
    done = subprocess.run(
        [sys.executable, str(program), str(size), "1", how, "10", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left = [rank for rank in range(size) if rank != 1]
    assert json.loads(done.stdout) == {str(rank): 1 for rank in left}
    for rank in left:
        message = json.loads((tmp_path / f"{rank}.json").read_text())
        assert message.startswith(f"rank {rank} of {size}: {words}")
        assert message.endswith("; continue with --resume")
        assert len(message.splitlines()) == 1
