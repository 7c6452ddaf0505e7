"""Which device a run computes on, and with how many threads."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import torch

from bench.distributed import ALONE, World
from bench.errors import UserError
from bench.results import cpu_name


def choose_device(wanted: str, world: World = ALONE) -> torch.device:
    """The device of that name; `auto` takes a GPU when there is one: each process of a machine its own.

    Raises:
        UserError: no such device on this machine.
    """
    if wanted == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        wanted = f"cuda:{world.local_rank}" if world.size > 1 else "cuda"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UserError(
            f"runtime.device: {wanted!r} is not a device; use auto, cpu, cuda or cuda:0"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"runtime.device: {wanted}: this machine has {torch.cuda.device_count()} CUDA devices "
            f"that torch {torch.__version__} can use; set runtime.device=auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("runtime.device: mps: not available on this machine; set runtime.device=auto")
    return device


def choose_threads(wanted: int | str, world: World = ALONE) -> int:
    """Set and return torch's number of threads; `auto` shares the CPUs among this machine's processes."""
    threads = max(1, usable_cpus() // world.local_size) if wanted == "auto" else int(wanted)
    torch.set_num_threads(threads)
    return threads


def seed_random(seed: int, device: torch.device) -> None:
    """Seed what torch draws from now on, on the CPU and on this device, as `torch.manual_seed` does for all.

    That writes down where it was called from, for GPUs that may yet be used: a third of a millisecond.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def check_precision(precision: str, device: torch.device) -> None:
    """See that training in this arithmetic works on the device.

    Raises:
        UserError: it does not; says what helps.
    """
    if precision == "fp16" and device.type != "cuda":
        raise UserError(
            f"train.precision: fp16 trains on CUDA devices alone, and this is {device.type}; "
            "set train.precision=bf16 or float32"
        )
    if precision == "bf16":
        check_bf16(device)


def choose_arithmetic(
    device: torch.device, *, tf32: bool | None, cudnn_benchmark: bool, deterministic: bool
) -> None:
    """Set what `runtime` says of roundings, speed and repeatability, for this process.

    Args:
        device: that computes.
        tf32: for all float32 products of a GPU; None: torch's own choice, convolutions alone.
        cudnn_benchmark: try convolutions and keep the fastest.
        deterministic: refuse operations without a fixed order of additions.
    """
    if deterministic != torch.are_deterministic_algorithms_enabled():  # setting it imports torch's compiler
        torch.use_deterministic_algorithms(deterministic)
    if device.type != "cuda":
        return
    if deterministic:  # read by cuBLAS when it starts
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = cudnn_benchmark
    torch.backends.cudnn.allow_tf32 = tf32 is not False
    torch.backends.cuda.matmul.allow_tf32 = bool(tf32)


def check_bf16(device: torch.device) -> None:
    """See that bf16 arithmetic works on this CPU, in a process that may die of it.

    Some virtual machines announce AMX and trap its instructions: the whole process then ends by SIGILL in the
    first convolution, without a word.

    Raises:
        UserError: it does; says what helps.
    """
    if device.type != "cpu":
        return
    done = subprocess.run([sys.executable, "-c", _BF16_STEP], capture_output=True, check=False)
    if done.returncode:
        raise UserError(
            "train.precision: bf16: this CPU announces bf16 instructions that crash here; set "
            "train.precision=float32, or the environment variable ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16"
        )


_BF16_STEP = """
import torch
images = torch.ones(2, 16, 8, 8).contiguous(memory_format=torch.channels_last)
with torch.autocast("cpu", torch.bfloat16):
    features = torch.nn.Conv2d(16, 16, 3)(images).flatten(1)
    torch.nn.Linear(576, 8)(features).float().sum().backward()
"""


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_name(device: torch.device) -> str:
    """What a person calls the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def peak_memory_mib(device: torch.device) -> float:
    """Highest memory use so far, MiB: of the device's allocator on a GPU, else of the process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device) / 2**20)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
