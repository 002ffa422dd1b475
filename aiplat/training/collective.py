"""What the ranks of a run do together: average gradients, share values, gather rows.

Works on torch's default process group; without one, every function is that of a lone process,
within `among` a fault.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from aiplat.errors import AiplatError

T = TypeVar("T")

_EXPECTED: ContextVar[int | None] = ContextVar("expected", default=None)


class GroupEndedError(AiplatError):
    """The process group was taken away while its ranks were at work."""


@contextmanager
def among(world_size: int) -> Iterator[None]:
    """Within the block there are so many ranks, on this thread.

    Whoever started them may take the process group away while they work, to start others. A rank
    that went on as if it were alone would save what it alone had trained on as everyone's. What it
    meets then, in the middle of anything, is a GroupEndedError.
    """
    token = _EXPECTED.set(world_size)
    try:
        yield
    except Exception as error:
        if world_size == 1 or distributed.is_initialized() or isinstance(error, GroupEndedError):
            raise
        raise GroupEndedError(f"the group of {world_size} ranks was ended") from error
    finally:
        _EXPECTED.reset(token)


def num_ranks() -> int:
    """How many processes take part. Raises GroupEndedError where some of `among` are gone."""
    found = 1
    if distributed.is_available() and distributed.is_initialized():
        found = distributed.get_world_size()
    expected = _EXPECTED.get()
    if expected not in (None, found):
        raise GroupEndedError(f"of {expected} ranks {found} are left: the group was ended")
    return found


def data_parallel(module: nn.Module, device: torch.device) -> nn.Module:
    """The module on the device, its gradients averaged over the ranks; rank 0's weights win.

    Every trained parameter must take part in every loss.
    """
    module = module.to(device)
    if num_ranks() == 1:
        return module
    # Gradients that are views into the communication buffers save a copy and their memory.
    return DistributedDataParallel(
        module,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
    )


def compress_gradients(module: nn.Module) -> None:
    """Send the gradients of what `data_parallel` made as bf16: half the bytes, two digits."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook

    if isinstance(module, DistributedDataParallel):
        module.register_comm_hook(None, bf16_compress_hook)


def gather_objects(value: T) -> list[T]:
    """The value of every rank, in rank order, on every rank; small things only."""
    if num_ranks() == 1:
        return [value]
    values: list[Any] = [None] * num_ranks()
    distributed.all_gather_object(values, value)
    return values


def broadcast_object(value: T) -> T:
    """Rank 0's value on every rank."""
    if num_ranks() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def gather_tensors(tensor: Tensor, group: Any = None) -> list[Tensor]:  # noqa: ARG001
    """A tensor of every rank, whatever their shapes; what torchmetrics calls to reduce a metric.

    group: torchmetrics passes it; there is only the default group. Ranks that saw no rows have
    empty tensors of no particular type, which are left out where others have rows.
    """
    gathered = [part.to(tensor.device) for part in gather_objects(tensor.cpu())]
    return [part for part in gathered if part.numel()] or gathered


@torch.no_grad()
def share_buffers(module: nn.Module) -> None:
    """Give every rank the buffers (running statistics) of rank 0."""
    if num_ranks() == 1:
        return
    for buffer in module.buffers():
        distributed.broadcast(buffer, src=0)


def gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """The rows of all ranks in rank order, and the index of the first of this rank's own.

    Gradients flow back to the ranks that the rows came from. Ranks may have differently many rows;
    every rank calls this equally often.
    """
    if num_ranks() == 1:
        return rows, 0
    counts = _counts(rows)
    gathered: Tensor = _GatherRows.apply(rows, counts)
    return gathered, sum(counts[: distributed.get_rank()])


def _counts(rows: Tensor) -> list[int]:
    mine = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.empty_like(mine) for _ in range(num_ranks())]
    distributed.all_gather(counts, mine)
    return [int(count) for count in counts]


class _GatherRows(torch.autograd.Function):
    """Concatenates forward; sums each row's gradient over the ranks that used it backward."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        start = sum(counts[: distributed.get_rank()])
        ctx.mine = slice(start, start + len(rows))
        # Equal shapes, as the back ends want them.
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous()
        distributed.all_reduce(total)
        return total[ctx.mine], None
