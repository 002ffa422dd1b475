"""How to train: the choices of a run in one value, without the task and without the process."""

from dataclasses import dataclass, field, replace

from aiplat.errors import ConfigError, DataError
from aiplat.tasks.task import Task
from aiplat.training.config import CheckpointConfig, DatasetConfig, LoopConfig
from aiplat.training.optim import MakeOptimizer, MakeSchedule
from aiplat.training.samples import num_batches
from aiplat.training.worker import Worker, is_sharded


@dataclass(frozen=True)
class Recipe:
    """The sections that the loop reads.

    make_optimizer: None takes the one that the task brings. make_schedule: None takes the task's,
    or where it has none keeps the optimizer's learning rate. full_workers: how many workers share a
    step when none is missing; None: as many as there are. cache: a folder or URI for what can be
    found out again; None keeps nothing. begin_from: the folder of another run, with whose last
    weights and optimizer state this one begins, its own settings kept.
    """

    dataset: DatasetConfig
    make_optimizer: MakeOptimizer | None
    make_schedule: MakeSchedule | None = None
    loop: LoopConfig = field(default_factory=LoopConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    seed: int = 0
    full_workers: int | None = None
    cache: str | None = None
    begin_from: str | None = None

    @property
    def batch_size(self) -> int:
        """Rows of one optimizer step."""
        if self.dataset.batch_size == "auto":
            raise ValueError("dataset.batch_size is auto: aiplat.training.sizing finds a number")
        return self.dataset.batch_size

    def of_batch_size(self, rows: int) -> "Recipe":
        """The same with so many rows a step."""
        return replace(self, dataset=replace(self.dataset, batch_size=rows))

    def steps_per_epoch(self, num_rows: int) -> int:
        """Optimizer steps of a whole epoch."""
        return num_batches(num_rows, self.batch_size)

    def total_steps(self, num_rows: int) -> int:
        """Optimizer steps of the whole run, if nothing stops it early."""
        planned = self.loop.max_epochs * self.steps_per_epoch(num_rows)
        return planned if self.loop.max_steps is None else min(planned, self.loop.max_steps)

    def accumulate(self, world_size: int) -> int:
        """Micro-batches that each of so many workers cuts its share of a batch into.

        Where workers are missing, the others have more rows a step, not larger micro-batches:
        neither the batch nor the memory that a worker needs changes with their number.
        """
        full = self.loop.accumulate * (self.full_workers or world_size)
        return max(self.loop.accumulate, -(-full // world_size))

    def micro_batch_rows(self, world_size: int) -> int:
        """Rows that one rank computes at a time, at most."""
        return -(-self.batch_size // (world_size * self.accumulate(world_size)))


def check_recipe(recipe: Recipe, task: Task, worker: Worker) -> None:
    """Raise ConfigError or DataError where this task cannot be trained so, on this data."""
    num_rows = worker.num_rows("train")
    if not num_rows:
        raise DataError(f"dataset {recipe.dataset.name!r} has no rows to train on (split 'train')")
    if recipe.loop.early_stop_epochs and not worker.num_rows("val"):
        raise ConfigError(
            "loop.early_stop_epochs needs validation rows, and the dataset has no split 'val'; "
            "set it to null or ingest the data with one"
        )
    if recipe.loop.compile and is_sharded(worker):
        raise ConfigError(
            "loop.compile is true, which scale.strategy=fsdp does not support yet: what gathers a "
            "block's weights cannot be compiled with it; set loop.compile=false, or use ddp"
        )
    if recipe.begin_from is not None and is_sharded(worker):
        raise ConfigError("a run that begins with another's weights is not cut into parts: use ddp")
    if recipe.loop.compress_gradients and is_sharded(worker):
        raise ConfigError(
            "loop.compress_gradients is true, which is for scale.strategy=ddp: fsdp exchanges "
            "parts of gradients in a way of its own; set loop.compress_gradients=false"
        )
    if task.coupled:
        _check_coupled(recipe, num_rows, worker.world_size)


def _check_coupled(recipe: Recipe, num_rows: int, world_size: int) -> None:
    if recipe.loop.accumulate > 1:
        raise ConfigError(
            f"loop.accumulate is {recipe.loop.accumulate}, but this task compares the rows of a "
            "batch with each other, so cutting the batch changes its loss; set loop.accumulate=1"
        )
    # The last two batches share their rows, so that none is smaller than half a batch.
    smallest = min(recipe.batch_size // 2, num_rows)
    if smallest < world_size:
        raise ConfigError(
            f"dataset.batch_size is {recipe.batch_size} for {num_rows} rows and "
            f"{world_size} workers: this task needs a row for every worker in every batch; raise "
            "dataset.batch_size or lower scale.num_workers"
        )
