"""Short runs of TinyTask, whole or cut off."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from pyarrow import fs
from torch import nn
from torch.optim import Optimizer

from aiplat.store import files
from aiplat.tasks.task import Batch, Task
from aiplat.training.config import CheckpointConfig, DatasetConfig, LoopConfig
from aiplat.training.local import LocalWorker
from aiplat.training.loop import FitResult, Recipe, fit
from aiplat.training.optim import one_cycle, parameter_groups
from aiplat.training.worker import Positions
from tests.fakes import NUM_CLASSES, TinyTask, splits


class CutOffError(Exception):
    """Stands for the kill of a process."""


@dataclass
class MortalWorker(LocalWorker):
    """Dies when it asks for more training batches than it is given to live for."""

    dies_after: int | None = None

    def batches(self, split: str, plan: Iterable[Positions], augment: bool) -> Iterator[Batch]:
        batches = super().batches(split, plan, augment)
        return batches if split != "train" or self.dies_after is None else self._until(batches)

    def _until(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if not self.dies_after:
                raise CutOffError
            self.dies_after -= 1
            yield batch


def adamw(model: nn.Module) -> Optimizer:
    return torch.optim.AdamW(parameter_groups(model), lr=0.02)


def sgd(model: nn.Module) -> Optimizer:
    """Unlike Adam's, its steps show when all gradients are wrong by a factor."""
    return torch.optim.SGD(parameter_groups(model), lr=0.5)


def smooth_model() -> nn.Module:
    """Without batch statistics: what it learns does not depend on how a batch is cut."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, NUM_CLASSES))


def forgetful_model(seed: int = 0) -> nn.Module:
    """Draws random numbers and keeps running statistics."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, NUM_CLASSES)
    )


@dataclass
class Run:
    """A run's folder, its data and choices; every `go` is one attempt at it."""

    folder: Path | str
    tables: dict[str, Any] = field(default_factory=splits)
    batch_size: int = 16
    loop: dict[str, Any] = field(default_factory=dict)
    checkpoint: dict[str, Any] = field(default_factory=dict)
    schedule: Any = one_cycle
    optimizer: Any = adamw

    def recipe(self) -> Recipe:
        chosen = {"max_epochs": 2, "log_every_steps": 1, "precision": "fp32", **self.loop}
        return Recipe(
            dataset=DatasetConfig(name="blobs", batch_size=self.batch_size),
            make_optimizer=self.optimizer,
            make_schedule=self.schedule,
            loop=LoopConfig(**chosen),
            checkpoint=CheckpointConfig(**{"max_lost_s": 3600, **self.checkpoint}),
            seed=7,
        )

    def go(self, task: Task | None = None) -> tuple[FitResult, MortalWorker]:
        task = task or TinyTask(smooth_model())
        worker = MortalWorker(self.tables, task, str(self.folder))
        return fit(task, worker, self.recipe()), worker

    def cut_off(self, after: int, task: Task | None = None) -> MortalWorker:
        """Train for so many steps, then die."""
        task = task or TinyTask(smooth_model())
        worker = MortalWorker(self.tables, task, str(self.folder), dies_after=after)
        with pytest.raises(CutOffError):
            fit(task, worker, self.recipe())
        return worker


def use_storage_that_cannot_rename(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What begins with fake:// lies below `root`, and is as far away as an object store."""
    store, open_elsewhere = fs.SubTreeFileSystem(str(root), fs.LocalFileSystem()), files.opened

    def opened(uri: str) -> tuple[fs.FileSystem, str]:
        if not uri.startswith("fake://"):
            return open_elsewhere(uri)
        path = uri.removeprefix("fake://")
        # Object stores have no folders to be made first.
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        return store, path

    monkeypatch.setattr(files, "opened", opened)


def losses(worker: LocalWorker) -> dict[int, float]:
    """The loss of every logged step."""
    return {event["step"]: event["loss"] for event in worker.events if event["kind"] == "step"}


def notes(worker: LocalWorker) -> list[str]:
    return [event["text"] for event in worker.events if event["kind"] == "note"]
