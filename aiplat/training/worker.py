"""The seam between the training loop and whatever runs it: one process, as the loop sees it.

`LocalWorker` runs the loop in this process, in milliseconds, for tests and small runs;
`aiplat.cluster.train.RayWorker` runs it on a cluster. There is one loop for both.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from torch import nn

from aiplat.tasks.task import Batch
from aiplat.training.pulse import Pulse
from aiplat.training.samples import Positions

__all__ = ["Positions", "Strategy", "Worker", "is_sharded", "reading"]

Strategy = Literal["ddp", "fsdp"]


class Worker(Protocol):
    """One process of a training run.

    run_dir: where the run's checkpoints and sample records live; shared by all ranks.
    strategy: `ddp` has the whole model on every rank, `fsdp` a part of it. pulse: the loop's signs
    of life.
    """

    rank: int
    world_size: int
    device: torch.device
    run_dir: str
    strategy: Strategy
    pulse: Pulse

    def prepare(self, model: nn.Module) -> nn.Module:
        """The whole model on this worker's device, its gradients averaged over all ranks."""
        ...

    def num_rows(self, split: str) -> int:
        """Rows of the split over all ranks; 0 where the dataset has no such split."""
        ...

    def batches(self, split: str, plan: Iterable[Positions], augment: bool) -> Iterator[Batch]:
        """The encoded rows of each micro-batch of `plan`, in its order, prefetched, on the device.

        Each batch also carries `row_id`, as read from the rows themselves. A micro-batch of no rows
        is a batch with an empty `row_id` and nothing else. Work begins at once; where the iterator
        has a `close()`, that ends it.
        """
        ...

    def log(self, event: dict[str, Any]) -> None:
        """Hand an event (step metrics, progress, notes) to whoever watches; never waits."""
        ...

    def save_requested(self) -> bool:
        """Whether someone asked for a checkpoint at once since this was called last.

        Say because this process is about to be taken away. Asked every few seconds, never waits; a
        yes of one rank is one of all.
        """
        ...

    def report(self, metrics: dict[str, float]) -> None:
        """Tell the run's controller how it stands. A barrier: every rank calls it equally often."""
        ...


def is_sharded(worker: Worker) -> bool:
    """Whether each rank has a part of the model only; a lone rank has all of it."""
    return worker.strategy == "fsdp" and worker.world_size > 1


@contextmanager
def reading(
    worker: Worker, split: str, plan: Iterable[Positions], augment: bool
) -> Iterator[Iterator[Batch]]:
    """The worker's batches of `plan`; no work on them is left when the block ends."""
    batches = worker.batches(split, plan, augment)
    try:
        yield worker.pulse.beating(batches)
    finally:
        if hasattr(batches, "close"):
            batches.close()
