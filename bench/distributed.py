"""Several processes train one model. The only code that knows torch.distributed.

`torchrun` starts the processes and tells each its rank in the environment. Each takes an equal share of every
global batch; the embeddings are gathered, so that every process computes the same loss of the whole batch. A
loss, a miner and a batch source therefore never hear of ranks.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bench.errors import BenchError, UserError, one_line
from bench.rows import gradient_values
from losses import Classes

_ROLL_CALL_S = 3.0  # processes that wait for the same one give up at the same time, but for the load


@dataclass(frozen=True, slots=True)
class World:
    """The processes of one run, as one of them sees them.

    Args:
        rank: of this process, from 0.
        size: number of processes.
        local_rank: among the processes of this machine: picks the GPU.
        local_size: processes on this machine, which share its CPUs.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes: run folder, tracking, terminal."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process' rows of a global batch of `count`, which the number of processes divides."""
        own = count // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    def check_batch(self, count: int) -> None:
        """See that a global batch can be divided: unequal shares would weigh images differently.

        Raises:
            UserError: it cannot.
        """
        if count % self.size:
            raise UserError(
                f"batch: {count} images do not divide among {self.size} processes; "
                f"choose a multiple of {self.size}"
            )

    def gather(self, rows: Tensor) -> Tensor:
        """Every process' (b, ...) rows, in the order of ranks: (size * b, ...), with gradient."""
        if self.size == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self)
        return gathered

    def gather_all(self, compute_share: Any, count: int) -> Tensor:
        """Divide `count` rows of work that needs no gradient, and collect what comes out, in order.

        Args:
            compute_share: slice of rows -> tensor with as many rows; called once, with at least one row.
            count: rows in all; they need not divide.
        """
        if self.size == 1:
            result: Tensor = compute_share(slice(0, count))
            return result
        each = -(-count // self.size)
        # The last processes may have nothing left to do: they repeat the last row, and it is cut off again.
        start = min(self.rank * each, count - 1)
        stop = max(start + 1, min(count, (self.rank + 1) * each))
        own = compute_share(slice(start, stop))
        padded = own.new_zeros((each, *own.shape[1:]))
        padded[: stop - start] = own
        return _all_gather(padded.contiguous(), self.size)[:count]

    def rows_of(self, total: int) -> slice:
        """This process' rows of a table of `total`, which need not divide."""
        return slice(self.rank * total // self.size, (self.rank + 1) * total // self.size)

    def classes(self, total: int) -> Classes:
        """This process' share of so many classes, for a loss."""
        own = self.rows_of(total)
        return Classes(
            first=own.start,
            count=own.stop - own.start,
            total=total,
            spread=_Spread.apply,
            maximum=_maximum,
            sum=_Sum.apply,
        )

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise over the processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    @torch.no_grad()
    def gather_rows(self, rows: Tensor) -> Tensor:
        """Every process' rows of a table divided by `rows_of`, in order."""
        if self.size == 1:
            return rows
        counts = torch.tensor([len(rows)], device=_control_device())
        each = _all_gather(counts, self.size).tolist()
        padded = rows.new_zeros((max(each), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = torch.split(_all_gather(padded, self.size), max(each))
        return torch.cat([part[:count] for part, count in zip(parts, each, strict=True)])

    def absent(self, wait_s: float = _ROLL_CALL_S) -> tuple[int, ...]:
        """After a collective has failed: ranks that do not say within so many seconds that they are there.

        Every process whose collective has failed says so; one that hangs or is dead does not.
        """
        absent = set(range(self.size))
        try:
            # torch has no public name for the store behind the default group, which outlives a broken one
            store = dist.distributed_c10d._get_default_store()
            store.set(f"bench/here/{self.rank}", "1")
            deadline = time.monotonic() + wait_s
            while absent and time.monotonic() < deadline:
                absent = {rank for rank in absent if not store.check([f"bench/here/{rank}"])}
                time.sleep(0.05)
        except (dist.DistError, RuntimeError, ValueError):
            return ()  # the store was in a process that is gone
        return tuple(sorted(absent))

    def lost(self, error: BaseException) -> BenchError | None:
        """The error that says which processes are lost, where that is why a collective failed; else None.

        Args:
            error: of torch.
        """
        if self.size == 1 or not isinstance(error, RuntimeError) or not _is_peer_loss(error):
            return None
        said = one_line(str(error).splitlines()[0], 120)
        absent = self.absent()
        if not absent:
            who = "another process of this run has died or does not answer"
        else:
            names = " and ".join(f"rank {rank}" for rank in absent)
            timed_out = "imed out" in str(error)
            who = f"{names} did not come in time (runtime.timeout_s)" if timed_out else f"{names} died"
        return BenchError(f"rank {self.rank} of {self.size}: {who}: {said}; continue with --resume")

    def any(self, flag: bool) -> bool:
        """Whether any process says so: a decision that all take together."""
        if self.size == 1:
            return flag
        flags = torch.tensor([int(flag)], device=_control_device())
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags.item())

    def tell(self, message: Any = None) -> Any:
        """What the first process says, heard by all. Others' arguments are not read."""
        if self.size == 1:
            return message
        box = [message]
        dist.broadcast_object_list(box, src=0, device=_control_device())
        return box[0]

    def parallel(self, backbone: nn.Module) -> nn.Module:
        """The module to call in training: gradients of its parameters become means over the processes."""
        if self.size == 1 or not any(parameter.requires_grad for parameter in backbone.parameters()):
            return backbone
        device = next(backbone.parameters()).device
        return DistributedDataParallel(backbone, device_ids=[device] if device.type == "cuda" else None)

    def apart(self, trained: nn.Module) -> AbstractContextManager[None]:
        """Gradients in the block stay each process' own; those after it carry them along."""
        if isinstance(trained, DistributedDataParallel):
            own: AbstractContextManager[None] = trained.no_sync()
            return own
        return nullcontext()

    @torch.no_grad()
    def unify(self, loss: nn.Module, divided: Callable[[Tensor], bool] = lambda _: False) -> None:
        """Keep a loss' gradients and buffers (centers, a memory) one truth on all processes.

        Every process computes the loss of the same batch, so they are equal already, but for arithmetic
        whose order is not fixed (atomic additions on a GPU): without this they would drift apart.

        Args:
            loss: of the step.
            divided: whether a tensor is meant to differ: each process holds other rows of it.
        """
        if self.size == 1:
            return
        for parameter in loss.parameters():
            if parameter.grad is not None and not divided(parameter):
                values = gradient_values(parameter.grad)  # of a sample: of the same rows everywhere
                dist.all_reduce(values)
                values.div_(self.size)
        self.unify_buffers(loss, divided)

    @torch.no_grad()
    def unify_buffers(self, module: nn.Module, divided: Callable[[Tensor], bool] = lambda _: False) -> None:
        """Give every process the first one's buffers: running statistics differ, each saw its own share."""
        if self.size > 1:
            for buffer in module.buffers():
                if divided(buffer):
                    continue
                dist.broadcast(buffer, src=0)


ALONE = World()


@contextmanager
def join_world(
    timeout_s: float = 600.0, held: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Iterator[World]:
    """The processes that torchrun started this one with; alone without it.

    Args:
        timeout_s: a process that is silent for longer counts as dead.
        held: signals wait while it is entered: torchrun sends one as soon as a process has died, and it
            takes a moment to find out which.

    Raises:
        BenchError: another process has died or does not answer; names it.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    if not dist.is_initialized():  # once a process: torchrun's rendezvous cannot be joined a second time
        dist.init_process_group(
            "nccl" if torch.cuda.is_available() else "gloo", timeout=timedelta(seconds=timeout_s)
        )
        atexit.register(dist.destroy_process_group)
    world = World(dist.get_rank(), size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    try:
        yield world
    except (dist.DistError, RuntimeError) as error:
        with held():
            lost = world.lost(error)
        if lost is None:
            raise
        raise lost from error


class _Gather(torch.autograd.Function):
    """All-gather whose gradient is exact when every process computes the same loss of all rows.

    Each process then knows the whole gradient of its own rows without asking. DistributedDataParallel will
    divide by the number of processes, so it is multiplied by that first.
    """

    @staticmethod
    def forward(context: Any, rows: Tensor, world: World) -> Tensor:
        context.world = world
        return _all_gather(rows.contiguous(), world.size)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        world: World = context.world
        return gradient[world.share(len(gradient))] * world.size, None


class _Spread(torch.autograd.Function):
    """Identity; its gradient is summed over the processes, each of which has seen other classes."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return summed


class _Sum(torch.autograd.Function):
    """Sum over the processes. All compute the same from it, so each knows the gradient of its own summand."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        summed = values.contiguous().clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        return gradient


@torch.no_grad()
def _maximum(values: Tensor) -> Tensor:
    highest = values.contiguous().clone()
    dist.all_reduce(highest, op=dist.ReduceOp.MAX)
    return highest


def _all_gather(rows: Tensor, size: int) -> Tensor:
    gathered = rows.new_empty((size * len(rows), *rows.shape[1:]))
    dist.all_gather_into_tensor(gathered, rows)
    return gathered


def _control_device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def _is_peer_loss(error: BaseException) -> bool:
    words = ("Connection closed", "Connection reset", "Broken pipe", "Timed out", "timed out", "NCCL", "Gloo")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)
