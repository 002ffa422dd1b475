"""What each process of a group does in `test_processes`; it leaves its findings in a file."""

import json
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from aiplat.tasks.task import Batch, Task
from aiplat.training.checkpoint import Checkpoints
from aiplat.training.collective import gather_rows
from aiplat.training.evaluation import evaluate
from aiplat.training.local import LocalWorker
from aiplat.training.loop import fit
from tests.fakes import TinyTask, blobs, splits
from tests.training.lightning.modules import Blobs, task
from tests.training.runs import (
    CutOffError,
    MortalWorker,
    Run,
    forgetful_model,
    losses,
    notes,
    sgd,
    smooth_model,
)

# Of one row, the second rank sees none.
MEASURED = (1, 13)


class Pairs(TinyTask):
    """Each row's point must find its own label's among those of the whole batch."""

    coupled = True

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(nn.ModuleDict({"point": nn.Linear(2, 4), "label": nn.Embedding(3, 4)}))
        self.gather: Any = lambda rows: (rows, 0)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        parts = self.model
        if not isinstance(parts, nn.ModuleDict):
            raise TypeError
        points, _ = self.gather(functional.normalize(parts["point"](batch["point"]), dim=-1))
        labels = functional.normalize(parts["label"](batch["label"]), dim=-1)
        others, first = self.gather(labels)
        mine = torch.arange(len(labels)) + first
        to_points = functional.cross_entropy(labels @ points.T, mine)
        to_labels = functional.cross_entropy(points[mine] @ others.T, mine)
        return (to_points + to_labels) / 2, {}

    def measure(self, batch: Batch, metrics: Any) -> None:
        metrics.update(functional.one_hot(batch["label"], 3).float(), batch["label"])


def train_in_group(rank: int, world_size: int, folder: str) -> None:
    """Everything that needs more than one process, in one start of them."""
    here = Path(folder)

    def go(run: Run, task: Task, dies_after: int | None = None) -> dict[int, float]:
        worker = MortalWorker(
            run.tables, task, str(run.folder), rank, world_size, dies_after=dies_after
        )
        with suppress(CutOffError):
            fit(task, worker, run.recipe())
        return losses(worker)

    def epochs(run: Run, task: Task) -> list[dict[str, Any]]:
        worker = LocalWorker(run.tables, task, str(run.folder), rank, world_size)
        fit(task, worker, run.recipe())
        return [event for event in worker.events if event["kind"] == "epoch"]

    found = {
        "curve": go(curve(here), TinyTask(smooth_model())),
        "compressed": go(compressed(here), TinyTask(smooth_model())),
        "empty": go(empty(here), TinyTask(smooth_model())),
        "pairs": go(pairs(here), Pairs()),
        "whole": go(forgetful(here, "whole"), TinyTask(forgetful_model())),
        "before": go(forgetful(here, "resumed"), TinyTask(forgetful_model()), dies_after=7),
        "after": go(forgetful(here, "resumed"), TinyTask(forgetful_model(seed=5))),
        "from one": go(curve(here, "from one"), TinyTask(smooth_model())),
        "to one": go(curve(here, "to one"), TinyTask(smooth_model()), dies_after=5),
        "asked": asked(rank, world_size, here),
        "module": epochs(module(here), task(Blobs(dropout=0.0))),
        "measured": [measured(rank, world_size, num_rows) for num_rows in MEASURED],
        "gathered": gathered(rank),
    }
    (here / f"rank-{rank}.json").write_text(json.dumps(found))


def curve(folder: Path, name: str = "curve") -> Run:
    """The last batches have 27 rows for two ranks."""
    return Run(
        folder / name,
        batch_size=33,
        optimizer=sgd,
        checkpoint={"every_steps": 2},
        loop={"max_epochs": 3},
    )


def compressed(folder: Path) -> Run:
    """As `curve`, the ranks exchanging half-width gradients."""
    loop = {"max_epochs": 3, "compress_gradients": True, "profile": 2}
    return Run(folder / "compressed", batch_size=33, optimizer=sgd, loop=loop)


def empty(folder: Path) -> Run:
    """Five rows for two ranks with three micro-batches each: some have none."""
    loop = {"accumulate": 3, "max_epochs": 1}
    return Run(folder / "empty", batch_size=5, optimizer=sgd, loop=loop)


def pairs(folder: Path) -> Run:
    """The last batches have 27 rows for two ranks."""
    return Run(folder / "pairs", batch_size=33, optimizer=sgd)


def forgetful(folder: Path, name: str) -> Run:
    """For a model with batch statistics and random numbers."""
    return Run(folder / name, checkpoint={"every_steps": 3})


def asked(rank: int, world_size: int, folder: Path) -> Any:
    """The checkpoints of a run whose second rank is asked for one."""
    run = Run(folder / "asked", loop={"max_epochs": 1})
    task = TinyTask(smooth_model())
    worker = MortalWorker(run.tables, task, str(run.folder), rank, world_size, dies_after=4)
    worker.save_now = rank == 1
    with suppress(CutOffError):
        fit(task, worker, run.recipe())
    return [Checkpoints(str(run.folder)).steps(), notes(worker)]


def saving_all_the_time(folder: str) -> Run:
    """A run to be killed while it saves."""
    return Run(folder, loop={"max_epochs": 3}, checkpoint={"every_steps": 1})


def train_saving_all_the_time(folder: str) -> None:
    """A process of its own, for as long as it lives."""
    saving_all_the_time(folder).go()


def module(folder: Path) -> Run:
    """A LightningModule; of one validation row, the second rank sees none."""
    tables = splits(val=1, test=0)
    return Run(folder / "module", tables, batch_size=33, optimizer=None, schedule=None)


def measured(rank: int, world_size: int, num_rows: int) -> Any:
    """What an untrained task measures of few rows."""
    task = TinyTask(smooth_model())
    worker = LocalWorker({"val": blobs(num_rows)}, task, "", rank, world_size)
    with warnings.catch_warnings():
        # One row does not have all classes.
        warnings.filterwarnings("ignore", message="No (positive|negative) samples")
        evaluation = evaluate(task, worker, "val", 4)
    return [evaluation.metrics, evaluation.tensors]


def gathered(rank: int) -> Any:
    """Rank 0 has two rows and rank 1 has three; both use all five."""
    rows = (torch.arange(2 + rank).float()[:, None] + 10 * rank).requires_grad_()
    everything, first = gather_rows(rows)
    (everything.square().sum() * (rank + 1)).backward()
    return [everything.tolist(), first, None if rows.grad is None else rows.grad.tolist()]
