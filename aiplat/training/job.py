"""What a run trains: its dataset version, the nodes of its model and task, its recipe."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from aiplat.datasets.versions import ROW_ID, DatasetVersion
from aiplat.errors import DataError
from aiplat.store import files
from aiplat.tasks.build import BuildSource, build_task
from aiplat.tasks.rows import encode_rows
from aiplat.tasks.task import Task
from aiplat.training.hooks import Hooks, build_optimizer, hooks_of
from aiplat.training.lightning.support import is_lightning
from aiplat.training.recipe import Recipe
from aiplat.training.seeding import seed_everything
from aiplat.training.snapshot import Position

# Enough to fit a tokenizer to, and to read in seconds.
_MAX_TEXTS = 1_000_000
_REHEARSED_ROWS = 4


@dataclass(frozen=True)
class TrainJob:
    """All that a worker needs to build its task and train it; plain values that travel.

    run_dir: the run's folder. model, task: configuration nodes.
    """

    run_dir: str
    version: DatasetVersion
    model: dict[str, Any]
    task: dict[str, Any]
    recipe: Recipe

    def build(self, load_weights: bool = True) -> Task:
        """The task with its model, the same in every process. Raises ConfigError, DataError."""
        # The first weights and the order of drawing them must not depend on who builds.
        seed_everything(self.recipe.seed)
        with _local(files.join(self.run_dir, "assets")) as assets:
            source = BuildSource(
                self.version.info,
                assets,
                load_weights,
                self._texts,
                self.recipe.dataset.cache_bytes,
            )
            task = build_task(self.model, self.task, source)
        if not is_lightning(task.model):
            return task
        # Its torchmetrics takes longer to import than torch.
        from aiplat.training.lightning.task import LightningTask

        return LightningTask(task)

    def rehearse(self, task: Task) -> None:
        """Take a few rows the whole way, from the shards to a loss and an answer.

        What would fail in every worker fails here, in seconds and before any of them starts.
        """
        with self.version.reading():
            table = next(iter(self.version.read("train", [ROW_ID, *task.columns])), None)
        if table is None or not table.num_rows:
            raise DataError(f"dataset version {self.version.id} has no rows in its split 'train'")
        self._rehearse_steps(task, table.slice(0, _REHEARSED_ROWS))

    def _rehearse_steps(self, task: Task, table: pa.Table) -> None:
        """A training step without its backward pass, and an answer.

        What a user brings is measured, too, and makes its optimizer. Of what comes with aiplat that
        is left out: torchmetrics, and what optimizers import, take longer than all of the rest.
        """
        hooks, num_rows = hooks_of(task), self.version.num_rows("train")
        # Of an automatic batch size the workers find out.
        recipe = self.recipe.of_batch_size(_REHEARSED_ROWS)
        total_steps = recipe.total_steps(num_rows)
        position = Position(num_rows, total_steps, world_size=1)
        hooks.begin(position, recipe, rank=0, device=torch.device("cpu"))
        if isinstance(task, Hooks) or recipe.make_optimizer is None:
            build_optimizer(task, recipe, total_steps)
        task.model.eval()
        with torch.no_grad(), self.version.blamed():
            batch = encode_rows(table, task, augment=True)
            hooks.begin_epoch()
            task.loss(batch)
            if isinstance(task, Hooks) or not _is_ours(task):
                hooks.begin_split("val")
                task.measure(batch, task.metrics())
                hooks.end_split("val")
            hooks.end_epoch({})
            task.predict(batch)
        hooks.check_state()

    def _texts(self, column: str) -> Iterable[str]:
        """The texts of a column of the training split, in order."""
        return islice(self._all_texts(column), _MAX_TEXTS)

    def _all_texts(self, column: str) -> Iterator[str]:
        with self.version.reading():
            for table in self.version.read("train", [column]):
                yield from _known(table, column)


def _is_ours(task: Task) -> bool:
    return type(task).__module__.startswith(f"{__package__.split('.')[0]}.")


def _known(table: pa.Table, column: str) -> Iterator[str]:
    return (value for value in table.column(column).to_pylist() if value is not None)


@contextmanager
def _local(folder: str) -> Iterator[Path]:
    """The folder as one on this machine; what is added to a remote one is sent there."""
    if not files.is_remote(folder):
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        yield path
        return
    with tempfile.TemporaryDirectory() as scratch:
        if files.exists(folder):
            files.copy_folder(folder, scratch)
        before = set(Path(scratch).rglob("*"))
        yield Path(scratch)
        if set(Path(scratch).rglob("*")) != before:
            files.copy_folder(scratch, folder)
