"""A worker without a cluster: the rows in memory, the loop in this process or a few beside it."""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import start_processes

from aiplat.datasets.versions import ROW_ID, DatasetVersion
from aiplat.tasks.rows import encode_rows
from aiplat.tasks.task import Batch, Task
from aiplat.training.collective import data_parallel
from aiplat.training.encoded import EncodedSplits
from aiplat.training.prefetch import Prefetch
from aiplat.training.pulse import Pulse
from aiplat.training.worker import Positions, Strategy


@dataclass
class LocalWorker:
    """One rank over tables in memory; what it is told is kept in `events` and `reports`.

    tables: a table a split, with a `row_id` and the task's columns. save_now: set it for a
    checkpoint at once.
    """

    tables: Mapping[str, pa.Table]
    task: Task
    run_dir: str
    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    pulse: Pulse = field(default_factory=Pulse)
    events: list[dict[str, Any]] = field(default_factory=list)
    reports: list[dict[str, float]] = field(default_factory=list)
    save_now: bool = False
    strategy: Strategy = "ddp"

    def __post_init__(self) -> None:
        self.encoded = EncodedSplits(self.task)

    def prepare(self, model: nn.Module) -> nn.Module:
        """See `Worker`."""
        return data_parallel(model, self.device)

    def num_rows(self, split: str) -> int:
        """See `Worker`."""
        return int(self.tables[split].num_rows) if split in self.tables else 0

    def batches(self, split: str, plan: Iterable[Positions], augment: bool) -> Iterator[Batch]:
        """See `Worker`."""
        known = self.encoded.batches(split, self.num_rows(split), self.tables[split].take, plan)
        if known is not None:
            return map(self._moved, known)
        return Prefetch(partial(self._batch, self.tables[split], augment), plan)

    def log(self, event: dict[str, Any]) -> None:
        """See `Worker`."""
        self.events.append(event)

    def save_requested(self) -> bool:
        """See `Worker`."""
        requested, self.save_now = self.save_now, False
        return requested

    def report(self, metrics: dict[str, float]) -> None:
        """See `Worker`."""
        self.reports.append(metrics)

    def _batch(self, table: pa.Table, augment: bool, positions: Positions) -> Batch:
        return self._moved(encode_rows(table.take(positions), self.task, augment))

    def _moved(self, batch: Batch) -> Batch:
        return {name: tensor.to(self.device) for name, tensor in batch.items()}


def tables_of(version: DatasetVersion, task: Task) -> dict[str, pa.Table]:
    """The splits of a version, read into memory as far as the task needs them."""
    columns = [ROW_ID, *task.columns]
    return {split: pa.concat_tables(version.read(split, columns)) for split in version.splits}


def run_processes(num_processes: int, function: Callable[..., None], *arguments: Any) -> None:
    """Call `function(rank, num_processes, *arguments)` in processes that form a group over gloo.

    The function must be importable. Raises what the first failing process raised, as text.
    """
    # Processes forked from one that has imported everything start in the time of a single import.
    multiprocessing.get_context("forkserver").set_forkserver_preload([function.__module__])
    with tempfile.TemporaryDirectory() as folder:
        start_processes(
            _in_group,
            (num_processes, str(Path(folder) / "group"), function, arguments),
            nprocs=num_processes,
            start_method="forkserver",
        )


def _in_group(
    rank: int, world_size: int, meeting: str, function: Callable[..., None], arguments: Any
) -> None:
    # Processes that share the cores must not each take all of them.
    torch.set_num_threads(max(1, torch.get_num_threads() // world_size))
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size
    )
    try:
        function(rank, world_size, *arguments)
    finally:
        distributed.destroy_process_group()
