"""Ranks that fail for real, and what looks after them without a cluster."""

import ctypes
import json
import multiprocessing
import os
import resource
import signal
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from aiplat.cluster.faults import Recovery
from aiplat.tasks.task import Batch
from aiplat.training.job import TrainJob
from aiplat.training.local import LocalWorker
from aiplat.training.loop import fit
from tests.fakes import TinyTask
from tests.training.runs import Run, sgd, smooth_model

MEBIBYTE = 1 << 20
# What a row needs in this trouble, and what there is: four rows fit and eight do not. Of addresses,
# which cost nothing, for threads take theirs in large pieces, too.
ROW_BYTES = 512 * MEBIBYTE
HEADROOM_BYTES = 3072 * MEBIBYTE
# For a group that should have ended long ago.
_PATIENCE_S = 60


class ActorDiedError(Exception):
    """What Ray has for a process that died."""


ActorDiedError.__module__ = "ray.exceptions"


class GroupError(Exception):
    """What Ray raises where a worker group ended."""

    def __init__(self, worker_failures: dict[int, Exception]) -> None:
        super().__init__("Training failed due to worker errors")
        self.worker_failures = worker_failures


class TroubledTask(TinyTask):
    """Gets into `trouble` as rank 1, the third time it is asked for a loss.

    The loss of the group is that of all ranks.
    """

    def __init__(self, trouble: Callable[[Batch], None] | None, at: int = 3) -> None:
        super().__init__(smooth_model())
        self.trouble = trouble
        self.asked, self.at = 0, at
        self.rank = distributed.get_rank()

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        self.asked += 1
        is_mine = self.rank == 1 or self.trouble in LOST_GROUPS
        if self.trouble is not None and is_mine and self.asked >= self.at:
            self.trouble(batch)
        return super().loss(batch)


def is_killed(batch: Batch) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def loses_its_group(batch: Batch) -> None:
    """As when whoever started the ranks is about to start others, and they still work."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def loses_its_group_in_a_call(batch: Batch) -> None:
    """The same between two lines of torch."""
    loses_its_group(batch)
    distributed.barrier()


LOST_GROUPS = (loses_its_group, loses_its_group_in_a_call)


def is_wrong(batch: Batch) -> None:
    raise ValueError("a typo\nin the loss")


def needs_memory(batch: Batch) -> None:
    """As much as the rows of the micro-batch ask for."""
    limit_memory()
    torch.empty(len(batch["point"]) * ROW_BYTES, dtype=torch.uint8)


def waits_for_ever(batch: Batch) -> None:
    threading.Event().wait()


def holds_the_lock(batch: Batch) -> None:
    """Not even another thread of Python runs now."""
    ctypes.PyDLL(None).sleep(600)


def is_poisoned(batch: Batch) -> None:
    batch["point"][0] = float("nan")


def limit_memory() -> None:
    """No more than a little above what this process has the first time."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + HEADROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


@dataclass
class Group:
    """Two ranks over gloo that train a run, and a `Recovery` that looks after them."""

    run: Run
    max_failures: int = 3
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        job = TrainJob(str(self.run.folder), None, {}, {}, self.run.recipe())  # type: ignore[arg-type]
        self.recovery = Recovery(
            job, TinyTask(), self.max_failures, self.events.append, world_size=2
        )

    def attempt(
        self, trouble: Callable[[Batch], None] | None = None, at: int = 3
    ) -> dict[int, float]:
        """Train until the end, or raise what the cluster would; the answer is the losses."""
        context = multiprocessing.get_context("forkserver")
        # Arrow imports pandas when it first takes rows.
        context.set_forkserver_preload([__name__, "pandas"])
        self.recovery.begin()
        with tempfile.TemporaryDirectory() as folder:
            meeting = str(Path(folder) / "group")
            ranks = [
                context.Process(target=_train, args=(rank, self.run, meeting, trouble, at))
                for rank in (0, 1)
            ]
            codes = self._codes(ranks)
        # Ray starts other ranks by itself where it took the group away.
        if codes != [0, 0] and trouble not in LOST_GROUPS:
            dead = {rank: ActorDiedError(f"exit {code}") for rank, code in enumerate(codes) if code}
            raised = {rank: dead[rank] for rank in dead if codes[rank] != 1}
            self.recovery.answer(GroupError(dict(raised)))
        told = _events(self.run)
        # A process that is killed tells nothing.
        events = json.loads(told.read_text()) if told.exists() else []
        self.events += events
        return {event["step"]: event["loss"] for event in events if event["kind"] == "step"}

    def _codes(self, ranks: list[Any]) -> list[int]:
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(_PATIENCE_S)
            process.kill()
            process.join()
        return [process.exitcode for process in ranks]

    @property
    def causes(self) -> list[str]:
        """The one line of every failure."""
        return [event["text"] for event in self.events if event["kind"] == "failure"]


def two_ranks(folder: Path, **loop: Any) -> Run:
    """Micro-batches of eight rows; saved every second step."""
    chosen = {"max_epochs": 2, **loop}
    return Run(folder, optimizer=sgd, checkpoint={"every_steps": 2}, loop=chosen)


def _events(run: Run) -> Path:
    return Path(run.folder) / "events.json"


def _train(
    rank: int, run: Run, meeting: str, trouble: Callable[[Batch], None] | None, at: int
) -> None:
    torch.set_num_threads(1)
    Path(run.folder).mkdir(parents=True, exist_ok=True)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    task = TroubledTask(trouble, at)
    worker = LocalWorker(run.tables, task, str(run.folder), rank, 2)
    try:
        fit(task, worker, run.recipe())
    finally:
        if rank == 0:
            _events(run).write_text(json.dumps(worker.events))
        if distributed.is_initialized():
            distributed.destroy_process_group()
