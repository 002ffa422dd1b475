"""The largest batch that fits, found by trying: `dataset.batch_size=auto`.

Real training steps of a copy of the task, on this worker's device, in batches that double until one
does not fit or a larger one is no quicker; then the space between is halved. The weights, the
random numbers and the order of the rows stay as they were.
"""

import copy
import hashlib
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from aiplat.datasets.versions import ROW_ID
from aiplat.errors import ConfigError
from aiplat.store import files
from aiplat.tasks.task import Batch, Task
from aiplat.training.collective import broadcast_object, gather_objects
from aiplat.training.hooks import hooks_of
from aiplat.training.learner import Learner, make_learner
from aiplat.training.precision import choose_precision
from aiplat.training.recipe import Recipe
from aiplat.training.samples import StepPlan
from aiplat.training.seeding import random_state, restore_random_state
from aiplat.training.snapshot import Position
from aiplat.training.step import train_step
from aiplat.training.worker import Worker, is_sharded, reading

_FOUND = "batch_size.json"
# Rows that are encoded; larger batches repeat them.
_SAMPLE_ROWS = 256
# An epoch of fewer steps would hardly train.
_LEAST_STEPS = 10
# The rest is for what varies: longer texts, fragments, what the ranks send each other.
_GPU_SHARE = 0.9
_HOST_SHARE = 0.7
# On a CPU: doubling must make it this much quicker a row, and a step may take so long.
_QUICKER = 1.1
_LONGEST_STEP_S = 10.0
_FINEST = 1 / 8
_TIMED_STEPS = 2


def sized(recipe: Recipe, task: Task, worker: Worker) -> Recipe:
    """The recipe with a number for `dataset.batch_size`; the same on every rank.

    A run keeps what it began with, whatever the number of its workers becomes. Every rank calls it.
    """
    if recipe.dataset.batch_size != "auto":
        return recipe
    if is_sharded(worker):
        raise ConfigError(
            "dataset.batch_size is auto, which tries batches on a whole copy of the model, and "
            "scale.strategy=fsdp is for models that do not fit whole; set a number"
        )
    of_run = files.join(worker.run_dir, _FOUND)
    rows = broadcast_object(_read(of_run) if worker.rank == 0 else None)
    if rows is None:
        num_workers = recipe.full_workers or worker.world_size
        rows = _fitting(recipe, task, worker) * num_workers * recipe.loop.accumulate
        rows = max(1, min(rows, worker.num_rows("train") // _LEAST_STEPS))
        if worker.rank == 0:
            files.write_json(of_run, {"rows": rows})
            worker.log({"kind": "note", "text": f"dataset.batch_size=auto is {rows} rows a step"})
    return recipe.of_batch_size(rows)


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number of rows that fits, to an eighth of it; 0 where not even two do."""
    good, bad = 0, None
    while bad is None and good < most:
        # Of a single row there are no batch statistics.
        tried = min(most, max(2, 2 * good))
        good, bad = (tried, None) if fits(tried) else (good, tried)
    while bad is not None and good and bad - good > max(1, good * _FINEST):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _fitting(recipe: Recipe, task: Task, worker: Worker) -> int:
    """Rows of a micro-batch that fit every rank: remembered, or tried."""
    batch = _sample(worker, recipe)
    remembered = None
    if recipe.cache:
        remembered = files.join(
            recipe.cache, "batch_sizes", f"{_key(recipe, task, worker, batch)}.json"
        )
    of_ranks = gather_objects(_read(remembered) if remembered else None)
    if None in of_ranks:
        of_ranks = gather_objects(_tried(recipe, task, worker, batch))
    rows = min(found for found in of_ranks if found is not None)
    if not rows:
        raise ConfigError(
            "dataset.batch_size=auto: not even a batch of two rows fits into the memory of "
            f"{_device_name(worker.device)}; choose a smaller model or loop.precision=bf16"
        )
    if remembered and worker.rank == 0:
        files.write_json(remembered, {"rows": rows})
    return rows


def _tried(recipe: Recipe, task: Task, worker: Worker, batch: Batch) -> int:
    most = max(1, worker.num_rows("train") // (_LEAST_STEPS * worker.world_size))
    state = random_state(worker.device)
    trial = _Trial.of(recipe, task, worker, batch)
    try:
        return largest(trial.fits, most)
    finally:
        del trial
        if worker.device.type == "cuda":
            torch.cuda.empty_cache()
        restore_random_state(state, worker.device)


class _Alone:
    """The worker, as if there were no other: a rank that runs out of memory must not hang them."""

    rank = 0
    world_size = 1
    strategy = "ddp"

    def __init__(self, worker: Worker) -> None:
        self.device = worker.device

    def prepare(self, model: nn.Module) -> nn.Module:
        return model.to(self.device)


@dataclass
class _Trial:
    """A copy of the task in training. speed: the best so far, in rows a second."""

    learner: Learner
    batch: Batch
    host_bytes: int
    speed: float = 0.0

    @classmethod
    def of(cls, recipe: Recipe, task: Task, worker: Worker, batch: Batch) -> "_Trial":
        twin, plain = copy.deepcopy(task), replace(recipe.of_batch_size(1), make_schedule=None)
        num_rows = worker.num_rows("train")
        total_steps = plain.total_steps(num_rows)
        position = Position(num_rows, total_steps, world_size=1)
        hooks_of(twin).begin(position, plain, worker.rank, worker.device)
        learner = make_learner(twin, cast("Worker", _Alone(worker)), plain, total_steps)
        learner.loss.train()
        # A schedule of the task's own would move past its end.
        learner.schedule = None
        return cls(learner, batch, _free_host_bytes() // worker.world_size)

    def fits(self, num_rows: int) -> bool:
        """Whether a step of so many rows goes through, and on a CPU is worth it."""
        if self.learner.device.type == "cuda":
            return self._fits_gpu(num_rows)
        before = _peak_host_bytes()
        step_s = self._step(num_rows)
        faster = num_rows / step_s >= self.speed * _QUICKER
        self.speed = max(self.speed, num_rows / step_s)
        if step_s > _LONGEST_STEP_S or 2 * (_peak_host_bytes() - before) > self.host_bytes:
            # Twice as many rows would be next, and a host that runs out of memory kills.
            self.speed = float("inf")
        return faster

    def _fits_gpu(self, num_rows: int) -> bool:
        device = self.learner.device
        torch.cuda.set_per_process_memory_fraction(_GPU_SHARE, device)
        try:
            self._step(num_rows)
        except torch.cuda.OutOfMemoryError:
            self.learner.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            return False
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
        return True

    def _step(self, num_rows: int) -> float:
        """The seconds of a step; the first of its size is not counted."""
        size = len(self.batch[ROW_ID])
        chosen = torch.arange(num_rows, device=self.learner.device) % size
        batch = {name: tensor[chosen] for name, tensor in self.batch.items()}
        positions = np.arange(num_rows, dtype=np.int64)
        times = []
        for _ in range(_TIMED_STEPS + 1):
            began_at = time.perf_counter()
            outcome = train_step(self.learner, StepPlan(positions, (positions,)), iter([batch]))
            float(outcome.loss)
            times.append(time.perf_counter() - began_at)
        return min(times[1:])


def _sample(worker: Worker, recipe: Recipe) -> Batch:
    """Rows from all over the training split, encoded, on the worker's device."""
    num_rows = worker.num_rows("train")
    chosen = np.linspace(0, num_rows - 1, min(num_rows, _SAMPLE_ROWS), dtype=np.int64)
    with reading(worker, "train", [chosen], augment=recipe.loop.augment) as batches:
        return next(batches)


def _key(recipe: Recipe, task: Task, worker: Worker, batch: Batch) -> str:
    """What the memory of a step depends on, as a hash."""
    facts = {
        "model": repr(task.model),
        "weights": [
            (name, tuple(weight.shape), str(weight.dtype), weight.requires_grad)
            for name, weight in task.model.named_parameters()
        ],
        "rows": {name: (tuple(value.shape[1:]), str(value.dtype)) for name, value in batch.items()},
        "task": type(task).__name__,
        "device": _device_name(worker.device),
        "ranks": worker.world_size,
        "threads": torch.get_num_threads(),
        "precision": choose_precision(recipe.loop.precision, worker.device).name,
        "loop": [recipe.loop.channels_last, recipe.loop.compile, recipe.loop.ema_decay],
        "optimizer": repr(getattr(recipe.make_optimizer, "args", None)),
        "most": worker.num_rows("train") // (_LEAST_STEPS * worker.world_size),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _read(uri: str) -> int | None:
    return int(files.read_json(uri)["rows"]) if files.exists(uri) else None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        return f"{torch.cuda.get_device_name(device)} with {memory >> 30} GiB"
    return f"{platform.machine()} CPU"


def _peak_host_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _free_host_bytes() -> int:
    """What this host, or the container around us, has left of memory for a search."""
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = pages
    limits = [Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory.current")]
    if all(path.is_file() for path in limits):
        limit, used = (path.read_text().strip() for path in limits)
        free = min(pages, int(limit) - int(used)) if limit != "max" else pages
    return int(_HOST_SHARE * max(free, 0))
