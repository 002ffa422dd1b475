"""One trial, in a process of the cluster that runs one after another of them.

A trial of one worker trains in that process, which has everything imported already; one of several
has a worker group of its own, as any run.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
import ray
import torch
from ray import tune

from aiplat.cluster.events import Event, Sender
from aiplat.cluster.loader import RowBlocks, RowReader, load_rows
from aiplat.cluster.output import forwarded
from aiplat.cluster.scale import ScaleConfig
from aiplat.cluster.worker import ClusterWorker
from aiplat.tasks.task import Task
from aiplat.training.faults import clear_faults, fault_of
from aiplat.training.loop import FitResult, fit
from aiplat.training.result import best_weights
from aiplat.tuning.objectives import measured
from aiplat.tuning.study import Ending
from aiplat.tuning.trials import TrialPlan

PLAN = "plan"
# The keys of what a trial reports.
EPOCH, SCORE, SECONDS, ENDING, FAULT = "epoch", "score", "seconds", "ending", "fault"

# How long a trial that is ended may take to leave, before its process is ended for it.
_LEAVE_S = "60"


@dataclass(frozen=True)
class TrialShift:
    """What every process that runs trials is handed.

    blocks: the study's rows in the object store, and columns, which of them. mailbox: where the
    trials' events go.
    """

    blocks: RowBlocks
    columns: tuple[str, ...]
    scale: ScaleConfig
    threads: int
    gpus: float
    mailbox: Any


def run_trial(config: dict[str, Any], shift: TrialShift) -> None:
    """Run the trial of `config` and report its epochs, then its ending or its fault."""
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = _LEAVE_S
    plan: TrialPlan = config[PLAN]
    began_at = time.monotonic()
    last: dict[str, Any]
    run = _alone if shift.scale.num_workers == 1 else _in_group
    try:
        clear_faults(plan.job.run_dir)
        task, result = run(plan, shift, began_at)
        first = RowReader(_blocks(task, plan, shift)).take(np.zeros(1, dtype=np.int64))
        values = measured(plan.objectives, task, result, first, _engine(plan, shift))
        seconds = time.monotonic() - began_at
        last = {ENDING: Ending(values, result.epochs, seconds, result.metrics)}
    except Exception as error:
        fault = fault_of(error, rank=0)
        ray.get(shift.mailbox.put.remote([{**fault.event(), "trial": plan.number}]))
        last = {FAULT: fault}
    tune.report(last)


def _engine(plan: TrialPlan, shift: TrialShift) -> Callable[[Task], None]:
    """Has a task's model computed by the engine of the plan."""

    def use(task: Task) -> None:
        from aiplat.inference.engines.engine import Given
        from aiplat.inference.predictor import Predictor

        device = _device(shift.gpus).type
        predictor = Predictor(task, plan.job.version.info, device)
        predictor.compile(plan.engine, Given("fp32", device, shift.threads))

    return use if plan.engine != "eager" else lambda _: None


class TrialWorker(ClusterWorker):
    """A lone rank that is a trial: its validation metrics reach the study's pruner."""

    began_at = 0.0

    def report(self, metrics: dict[str, float]) -> None:
        """See `Worker`. Ends the thread, in a SystemExit, where the pruner says so."""
        _report(metrics, self.task.primary, self.began_at)


def _alone(plan: TrialPlan, shift: TrialShift, began_at: float) -> tuple[Task, FitResult]:
    torch.set_num_threads(shift.threads)
    sender = Sender(shift.mailbox, {"trial": plan.number, "rank": 0, "group": _attempt()})
    sender.send({"kind": "started"})
    try:
        with forwarded(sender.send):
            task = plan.job.build()
            blocks = _blocks(task, plan, shift)
            worker = TrialWorker(plan.job, task, blocks, sender, _device(shift.gpus))
            worker.began_at = began_at
            return task, fit(task, worker, plan.job.recipe)
    finally:
        sender.close()


def _in_group(plan: TrialPlan, shift: TrialShift, began_at: float) -> tuple[Task, FitResult]:
    """Train with a worker group, and report its epochs from this thread: Tune ends this one."""
    from aiplat.cluster.train import train_on_cluster

    happenings: SimpleQueue[Event | FitResult | Exception] = SimpleQueue()

    def watch(event: Event) -> None:
        shift.mailbox.put.remote([{**event, "trial": plan.number}])
        if event["kind"] == "epoch":
            happenings.put(event)

    def train() -> None:
        try:
            rows = _blocks(task, plan, shift)
            happenings.put(train_on_cluster(plan.job, shift.scale, watch, rows=rows))
        except Exception as error:
            happenings.put(error)

    task = plan.job.build()
    Thread(target=train, name="trial", daemon=True).start()
    while True:
        happening = happenings.get()
        if isinstance(happening, Exception):
            raise happening
        if isinstance(happening, FitResult):
            task.model.load_state_dict(best_weights(plan.job.run_dir))
            return task, happening
        _report(happening, task.primary, began_at)


def _report(metrics: dict[str, Any], primary: str, began_at: float) -> None:
    if primary in metrics:
        seconds = time.monotonic() - began_at
        told = {EPOCH: int(metrics["epoch"]), SCORE: float(metrics[primary]), SECONDS: seconds}
        tune.report(told)


def _blocks(task: Task, plan: TrialPlan, shift: TrialShift) -> RowBlocks:
    """The rows in the object store; a trial that reads other columns has them read in its place."""
    if set(task.columns) <= set(shift.columns):
        return shift.blocks
    return load_rows(plan.job.version, task.columns)


def _device(gpus: float) -> torch.device:
    if not gpus or not torch.cuda.is_available():
        return torch.device("cpu")
    if gpus < 1:
        # Ray counts shares of a GPU; that its memory is kept to them is up to who uses it.
        torch.cuda.set_per_process_memory_fraction(gpus)
    return torch.device("cuda", 0)


def _attempt() -> str:
    """Names this attempt at the trial among others of it."""
    return f"{tune.get_context().get_trial_id()}"
