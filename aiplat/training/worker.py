"""The seam between the training loop and whatever runs it: one process, as the loop sees it.

`LocalWorker` runs the loop in this process, in milliseconds, for tests and small runs;
`aiplat.cluster.train.RayWorker` runs it on a cluster. There is one loop for both.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from aiplat.tasks.task import Batch

# The row positions within a split (0-based, in shard order) of one micro-batch of this rank.
Positions = np.ndarray[Any, np.dtype[np.int64]]


class Worker(Protocol):
    """One process of a training run.

    run_dir: where the run's checkpoints and sample records live; shared by all ranks.
    """

    rank: int
    world_size: int
    device: torch.device
    run_dir: str

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model on this worker's device, its gradients averaged over all ranks."""
        ...

    def num_rows(self, split: str) -> int:
        """Rows of the split over all ranks; 0 where the dataset has no such split."""
        ...

    def batches(self, split: str, plan: Iterable[Positions], augment: bool) -> Iterator[Batch]:
        """The encoded rows of each micro-batch of `plan`, in its order, prefetched, on the device.

        Each batch also carries `row_id`, as read from the rows themselves.
        """
        ...

    def log(self, event: dict[str, Any]) -> None:
        """Hand an event (step metrics, progress, notes) to whoever watches; never waits."""
        ...

    def report(self, metrics: dict[str, float]) -> None:
        """Tell the run's controller how it stands. A barrier: every rank calls it equally often."""
        ...
