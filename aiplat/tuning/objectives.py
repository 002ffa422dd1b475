"""What a study searches for: of a trained model, its metric and what it costs to use."""

import statistics
import time
from collections.abc import Callable, Sequence

import pyarrow as pa
import torch

from aiplat.tasks.rows import encode_rows
from aiplat.tasks.task import Task
from aiplat.training.result import FitResult
from aiplat.tuning.config import Direction, Objective

_WARM = 5
_TIMED = 50


def directions(objectives: Sequence[Objective], maximize: bool) -> list[Direction]:
    """Whether each is better larger or smaller. maximize: the task's metric is better larger."""
    of_metric: Direction = "maximize" if maximize else "minimize"
    return [of_metric if name == "metric" else "minimize" for name in objectives]


def measured(
    objectives: Sequence[Objective],
    task: Task,
    result: FitResult,
    row: pa.Table,
    use_engine: Callable[[Task], None] = lambda _: None,
) -> list[float]:
    """The objectives of a trained task, in their order.

    row: one of the dataset, for the time of an answer: from its encoding on, in milliseconds.
    use_engine: has the model computed as it will be where it answers, before that is timed.
    """
    values: dict[Objective, float] = {"metric": result.metrics[task.primary]}
    if "num_parameters" in objectives:
        values["num_parameters"] = sum(weight.numel() for weight in task.model.parameters())
    if "latency_ms" in objectives:
        device = next(task.model.parameters()).device
        use_engine(task)
        values["latency_ms"] = _latency_ms(task, row, device)
    return [values[name] for name in objectives]


def _latency_ms(task: Task, row: pa.Table, device: torch.device) -> float:
    """The median time of an answer to one row, after a few that are not counted."""
    task.model.eval()
    times = []
    for _ in range(_WARM + _TIMED):
        began_at = time.perf_counter()
        batch = encode_rows(row, task)
        with torch.inference_mode():
            # The answer is made of plain values, so the device is done with it.
            task.predict({name: value.to(device) for name, value in batch.items()})
        times.append(time.perf_counter() - began_at)
    return statistics.median(times[_WARM:]) * 1000
