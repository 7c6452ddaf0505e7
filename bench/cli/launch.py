"""Several processes for one run: by torchrun's word, or started by `--gpus`."""

from __future__ import annotations

import os
import sys

from bench.errors import UserError


def is_launched() -> bool:
    """Whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def launched_rank() -> int:
    """Rank of this process among those that torchrun started; 0 without it. Only rank 0 speaks."""
    return int(os.environ.get("RANK", "0")) if is_launched() else 0


def relaunch(gpus: int) -> None:
    """Become torchrun, which starts this very command on so many processes, without --gpus.

    Raises:
        UserError: already under torchrun, or fewer GPUs.
    """
    import torch

    if is_launched():
        raise UserError("--gpus: torchrun has started the processes already; leave it out")
    if gpus > (found := torch.cuda.device_count()):
        raise UserError(f"--gpus {gpus}: this machine has {found} that torch can use")
    arguments = sys.argv[1:]
    at = next(index for index, word in enumerate(arguments) if word.partition("=")[0] == "--gpus")
    del arguments[at : at + (1 if "=" in arguments[at] else 2)]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}", "-m", "bench"]
    os.execv(sys.executable, [sys.executable, *launcher, *arguments])
