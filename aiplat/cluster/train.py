"""Train on the cluster: the same loop as everywhere, one worker process a rank.

The dataset is read into the object store once. Workers that the cluster loses are replaced and go
on from the last checkpoint; what the training code itself raises ends the run at once.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from ray import train
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from aiplat.cluster.backend import GpuConfig, uses_cuda
from aiplat.cluster.events import Event, Sender, origin, watching
from aiplat.cluster.faults import Recovery
from aiplat.cluster.group import WorkerGroup, plan_group
from aiplat.cluster.growth import node_groups
from aiplat.cluster.last_words import last_words
from aiplat.cluster.loader import RowBlocks, load_rows
from aiplat.cluster.metrics import RunMetrics
from aiplat.cluster.output import forwarded
from aiplat.cluster.reservation import asking_anew
from aiplat.cluster.scale import ScaleConfig
from aiplat.cluster.waiting import Waiting, telling
from aiplat.cluster.worker import ClusterWorker
from aiplat.tasks.task import Task
from aiplat.training.job import TrainJob
from aiplat.training.loop import FitResult, fit
from aiplat.training.worker import Strategy

_ELASTIC_WAIT_S = 5
_FIXED_WAIT_S = 600


@dataclass(frozen=True)
class _Shift:
    """What every worker of a group is handed. mailbox: where their events go."""

    job: TrainJob
    blocks: RowBlocks
    threads: int
    mailbox: Any
    strategy: Strategy


def train_on_cluster(
    job: TrainJob,
    scale: ScaleConfig,
    watch: Callable[[Event], None],
    can_grow: bool = False,
    rows: RowBlocks | None = None,
) -> FitResult:
    """Train until the recipe is done; every event of the run reaches `watch`.

    can_grow: the cluster may add nodes for what `scale` asks. rows: of the job's dataset version,
    where they are in the object store already, and were rehearsed with. Raises what the training
    code raised; ClusterError where workers were lost more often than `scale.max_failures`.
    """
    group = plan_group(scale, can_grow)
    task = job.build()
    if group.is_elastic and not task.coupled:
        job = replace(job, recipe=replace(job.recipe, full_workers=group.most))
    recovery = Recovery(job, task, scale.max_failures, watch)
    waiting = Waiting(group, node_groups())
    metrics = RunMetrics(job.run_dir.rstrip("/").rpartition("/")[2])

    def follow(event: Event) -> None:
        waiting.follow(event)
        metrics.follow(event)
        recovery.follow(event)

    with (
        watching(follow) as mailbox,
        last_words(mailbox) as ask_for_last_words,
    ):
        blocks = rows or _rehearsed(job, task)
        shift = _Shift(job, blocks, group.threads, mailbox, scale.strategy)
        while True:
            recovery.begin()
            waiting.begin()
            try:
                trainer = _trainer(shift, group, scale)
                with asking_anew(job.run_dir, trainer), telling(waiting, watch):
                    result: FitResult = trainer.fit().return_value
                return result
            except train.TrainingFailedError as error:
                ask_for_last_words()
                recovery.answer(error)
            finally:
                metrics.close()


def _rehearsed(job: TrainJob, task: Task) -> RowBlocks:
    """The rows of all splits; while they are read, a few of them go the whole way."""
    beside = ThreadPoolExecutor(max_workers=1)
    try:
        blocks = beside.submit(load_rows, job.version, task.columns)
        job.rehearse(task)
        return blocks.result()
    finally:
        # What fails here need not wait for a large dataset.
        beside.shutdown(wait=False)


def train_worker(shift: _Shift) -> FitResult:
    """One rank of the run, in a process of its own."""
    torch.set_num_threads(shift.threads)
    sender = Sender(shift.mailbox, origin())
    sender.send({"kind": "started"})
    try:
        with forwarded(sender.send):
            task = shift.job.build()
            return fit(task, RayWorker(shift, task, sender), shift.job.recipe)
    finally:
        sender.close()


class RayWorker(ClusterWorker):
    """The seam's other end: a rank of a Ray Train worker group."""

    def __init__(self, shift: _Shift, task: Task, sender: Sender) -> None:
        context = train.get_context()
        device = get_device() if uses_cuda() else torch.device("cpu")
        super().__init__(shift.job, task, shift.blocks, sender, device)
        self.rank = context.get_world_rank()
        self.world_size = context.get_world_size()
        self.strategy = shift.strategy
        self.leaving: list[int] = []

    def save_requested(self) -> bool:
        """See `Worker`. True once for every notice that nodes of the run are to be taken away."""
        notice = train.get_preemption_info()
        if notice is None or notice.preempted_ranks == self.leaving:
            return False
        self.leaving = notice.preempted_ranks
        if self.rank == 0:
            self.log({"kind": "note", "text": _said(notice)})
        return True

    def report(self, metrics: dict[str, float]) -> None:
        """See `Worker`."""
        train.report(metrics)


def _said(notice: train.PreemptionInfo) -> str:
    """What a notice says, in a line."""
    ranks = ", ".join(map(str, notice.preempted_ranks))
    when = ""
    if notice.deadline_ms is not None:
        when = f" in {max(0.0, notice.deadline_ms / 1000 - time.time()):.0f} s"
    return f"the node of rank {ranks} is to be taken away{when}: saving now"


def _trainer(shift: _Shift, group: WorkerGroup, scale: ScaleConfig) -> TorchTrainer:
    """A worker group for one attempt; the run itself lives in the run's folder, not in Ray's."""
    # An elastic group asks for what Ray believes to be there, nodes included that died just now:
    # it must look again soon. A group of a fixed size may wait for nodes that are being made.
    wait_s = _ELASTIC_WAIT_S if group.is_elastic else _FIXED_WAIT_S
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(wait_s)
    return TorchTrainer(
        partial(train_worker, shift),
        torch_config=GpuConfig() if group.use_gpu else TorchConfig(backend="gloo"),
        scaling_config=train.ScalingConfig(
            num_workers=(group.least, group.most) if group.is_elastic else group.least,
            elastic_resize_monitor_interval_s=scale.resize_check_s,
            use_gpu=group.use_gpu,
            resources_per_worker=group.resources,
        ),
        run_config=train.RunConfig(
            name="ray",
            storage_path=shift.job.run_dir,
            logging_config=train.LoggingConfig(log_level="WARNING"),
            failure_config=train.FailureConfig(max_failures=0, max_preemption_failures=0),
        ),
    )
