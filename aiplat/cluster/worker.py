"""What every process that trains on the cluster has: rows of the object store on its device."""

from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import nn

from aiplat.cluster.events import Event, Sender
from aiplat.cluster.loader import RowBlocks, RowReader
from aiplat.tasks.rows import encode_rows
from aiplat.tasks.task import Batch, Task
from aiplat.training.collective import data_parallel
from aiplat.training.encoded import EncodedSplits
from aiplat.training.job import TrainJob
from aiplat.training.prefetch import Prefetch
from aiplat.training.pulse import Pulse
from aiplat.training.worker import Positions, Strategy


class ClusterWorker:
    """A lone rank of a run whose rows are in the object store; see `Worker`."""

    def __init__(
        self, job: TrainJob, task: Task, blocks: RowBlocks, sender: Sender, device: torch.device
    ) -> None:
        self.rank, self.world_size = 0, 1
        self.strategy: Strategy = "ddp"
        self.device = device
        self.run_dir = job.run_dir
        self.version = job.version
        self.task = task
        self.pulse = Pulse()
        self.sender = sender
        self.reader = RowReader(blocks)
        self.encoded = EncodedSplits(task)

    def prepare(self, model: nn.Module) -> nn.Module:
        """See `Worker`."""
        return data_parallel(model, self.device)

    def num_rows(self, split: str) -> int:
        """See `Worker`."""
        return self.version.num_rows(split) if split in self.version.splits else 0

    def batches(self, split: str, plan: Iterable[Positions], augment: bool) -> Iterator[Batch]:
        """See `Worker`."""
        first = self.version.first_row_id(split)
        with self.version.blamed():
            known = self.encoded.batches(
                split, self.num_rows(split), lambda rows: self.reader.take(rows + first), plan
            )
        if known is not None:
            return map(self._moved, known)
        return Prefetch(partial(self._batch, first, augment), plan)

    def log(self, event: Event) -> None:
        """See `Worker`."""
        self.sender.send(event)

    def save_requested(self) -> bool:
        """See `Worker`."""
        return False

    def report(self, metrics: dict[str, float]) -> None:
        """See `Worker`."""

    def _batch(self, first_row_id: int, augment: bool, positions: Positions) -> Batch:
        with self.version.blamed():
            batch = encode_rows(self.reader.take(positions + first_row_id), self.task, augment)
        return self._moved(batch)

    def _moved(self, batch: Batch) -> Batch:
        if self.device.type == "cpu":
            return batch
        # From pinned memory the copy runs beside the computation.
        return {
            name: tensor.pin_memory().to(self.device, non_blocking=True)
            for name, tensor in batch.items()
        }
