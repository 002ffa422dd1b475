"""Measure a model on a split: every row once, whatever the number of ranks."""

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from aiplat.tasks.task import Task
from aiplat.training.collective import gather_tensors, num_ranks, share_buffers
from aiplat.training.samples import share
from aiplat.training.worker import Worker, reading

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass
class Evaluation:
    """What a task measured. tensors: what is no single number, such as a confusion matrix."""

    metrics: dict[str, float] = field(default_factory=dict)
    tensors: dict[str, Any] = field(default_factory=dict)


def evaluate(task: Task, worker: Worker, split: str, micro_batch_rows: int) -> Evaluation:
    """The task's metrics over a split, in fp32, the same on every rank.

    Every rank calls it. micro_batch_rows: rows that one rank encodes and computes at a time.
    """
    share_buffers(task.model)
    metrics = task.metrics()
    for metric in metrics.values(copy_state=False):
        # torchmetrics' own gathering wants the metric on the device of the back end.
        metric.dist_sync_fn = gather_tensors
    was_training = task.model.training
    task.model.eval()
    try:
        num_measured = _measure(task, worker, split, micro_batch_rows, metrics)
    finally:
        task.model.train(was_training)
    return _computed(metrics, num_measured)


def _measure(
    task: Task, worker: Worker, split: str, micro_batch_rows: int, metrics: "MetricCollection"
) -> int:
    """Update the metrics with this rank's rows; the answer is how many those are."""
    rows = np.arange(worker.num_rows(split), dtype=np.int64)
    mine = share(rows, worker.rank, worker.world_size)
    plan = [
        mine[start : start + micro_batch_rows] for start in range(0, len(mine), micro_batch_rows)
    ]
    with reading(worker, split, plan, augment=False) as batches, torch.no_grad():
        for batch in batches:
            task.measure(batch, metrics)
    return len(mine)


def _computed(metrics: "MetricCollection", num_measured: int) -> Evaluation:
    with warnings.catch_warnings():
        if not num_measured and num_ranks() > 1:
            # The metric cannot know that the other ranks' rows are still to come.
            warnings.filterwarnings("ignore", message=".*before the ``update`` method")
        values: dict[str, Tensor] = metrics.compute()
    result = Evaluation()
    for name, value in values.items():
        if value.numel() == 1:
            result.metrics[name] = float(value)
        else:
            result.tensors[name] = value.tolist()
    return result
