"""What each process of a group does in `test_sharding`; it leaves its findings in a file."""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

# The processes are forked from one that has imported this: they all need it.
from torch.distributed import fsdp  # noqa: F401
from torch.distributed.checkpoint import hf_storage  # noqa: F401

from aiplat.training.loop import fit
from aiplat.training.precision import choose_precision
from aiplat.training.sharding import Sharding
from aiplat.training.worker import Strategy
from tests.fakes import NUM_CLASSES, TinyTask, damage, splits
from tests.training.runs import CutOffError, MortalWorker, Run, losses, notes, sgd

WIDTH = 16
CPU = torch.device("cpu")


class Layered(nn.Module):
    """Blocks to shard, a weight too small for four ranks, and a scalar that cannot be cut."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(2, WIDTH)
        mixed = [nn.Linear(WIDTH, WIDTH) for _ in range(4)]
        # Two blocks that share a weight cannot be cut apart.
        mixed[3].weight = mixed[2].weight
        self.blocks = nn.ModuleList(
            nn.Sequential(linear, nn.BatchNorm1d(WIDTH) if norm else nn.Identity(), nn.Tanh())
            for linear in mixed
        )
        self.head = nn.Linear(WIDTH, NUM_CLASSES)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, points: Tensor) -> Tensor:
        states = self.first(points)
        for block in self.blocks:
            states = states + block(states)
        scores: Tensor = self.head(states) * self.scale
        return scores


def everything(folder: Path, name: str) -> Run:
    """Fifty steps with all that touches gradients and weights between backward and forward."""
    loop = {"max_epochs": 5, "accumulate": 2, "clip_norm": 0.5, "ema_decay": 0.9}
    loop["activation_checkpointing"] = name != "ddp"
    return Run(folder / name, batch_size=12, loop=loop)


def empty(folder: Path, name: str) -> Run:
    """Five rows for two ranks with three micro-batches each: some have none."""
    tables = {split: table.slice(0, 10) for split, table in splits().items()}
    loop = {"max_epochs": 1, "accumulate": 3}
    return Run(folder / name, tables=tables, batch_size=5, optimizer=sgd, loop=loop)


def interrupted(folder: Path, name: str) -> Run:
    """Saved every other step; the average has a part in what is handed over."""
    loop = {"max_epochs": 1, "ema_decay": 0.9}
    return Run(folder / name, batch_size=12, loop=loop, checkpoint={"every_steps": 2})


def half_width(folder: Path, precision: str) -> Run:
    """In half width, with batch norm in the blocks, computed again in backward."""
    loop = {"max_epochs": 1, "precision": precision, "clip_norm": 1.0}
    loop["activation_checkpointing"] = True
    return Run(folder / precision, batch_size=12, loop=loop)


def train_in_parts(rank: int, world_size: int, folder: str) -> None:
    """Everything that needs four processes, then what two of them go on with."""
    here = Path(folder)

    def go(
        run: Run, strategy: Strategy = "fsdp", dies_after: int | None = None, norm: bool = False
    ) -> dict[str, Any]:
        size = distributed.get_world_size()
        task = TinyTask(Layered(norm))
        worker = MortalWorker(
            run.tables, task, str(run.folder), rank, size, strategy=strategy, dies_after=dies_after
        )
        result = None
        with suppress(CutOffError):
            result = fit(task, worker, run.recipe())
        return {
            "losses": losses(worker),
            "notes": notes(worker),
            "metrics": result and result.metrics,
            "weights": {name: value.tolist() for name, value in task.model.state_dict().items()}
            if result
            else None,
        }

    found: dict[str, Any] = {"share": share_of_weights()}
    go(interrupted(here, "two"), dies_after=7)
    # Each rank has told of its end in the folder that is copied.
    distributed.barrier()
    if rank == 0:
        for name in ("one", "damaged"):
            shutil.copytree(here / "two", here / name)
        newest = max((here / "damaged" / "checkpoints").glob("step-*"))
        damage(min((newest / "shards").iterdir()))
    distributed.barrier()
    distributed.destroy_process_group()
    # The first two go on together, each other one is left alone.
    pair, size = (0, 2) if rank < 2 else (rank, 1)
    meeting = f"file://{here / f'meeting-{pair}'}"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank - pair, world_size=size)
    if rank < 2:
        found |= {
            "two": go(interrupted(here, "two")),
            "damaged": go(interrupted(here, "damaged")),
            "ddp": go(everything(here, "ddp"), "ddp"),
            "fsdp": go(everything(here, "fsdp")),
            "empty": go(empty(here, "empty")),
            "fp16": go(half_width(here, "fp16"), norm=True),
            "before": go(interrupted(here, "from ddp"), "ddp", dies_after=5),
            "from ddp": go(interrupted(here, "from ddp")),
        }
    (here / f"rank-{rank}.json").write_text(json.dumps(found))


def share_of_weights() -> float:
    """The fraction of the model's weights that this rank holds between steps."""
    task = TinyTask(Layered())
    num_all = sum(value.numel() for value in task.model.parameters())
    sharding = Sharding(task, CPU)
    sharding.shard(sharding.trained.model, choose_precision("fp32", CPU))
    local: list[Any] = list(sharding.trained.model.parameters())
    return sum(getattr(value, "_local_tensor", value).numel() for value in local) / num_all
