"""Run the trials of a study on the cluster, side by side, through Ray Tune.

The study decides what runs next and what ends early, and is the only one to remember: Tune gives
each trial its resources, keeps processes warm from one to the next and notices those that die.
docs/decisions/0014 says why Tune's own record of an experiment is not used to continue one.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from aiplat.cluster.events import Event, Mailbox, watching
from aiplat.cluster.faults import faults_of_process
from aiplat.cluster.group import plan_group
from aiplat.cluster.loader import load_rows
from aiplat.cluster.scale import ScaleConfig
from aiplat.cluster.trial import (
    ENDING,
    EPOCH,
    FAULT,
    PLAN,
    SCORE,
    SECONDS,
    TrialShift,
    run_trial,
)
from aiplat.errors import AiplatError
from aiplat.store import files
from aiplat.tasks.task import Task
from aiplat.training.faults import Fault, first_cause, read_faults
from aiplat.training.job import TrainJob
from aiplat.training.memory import num_oom_kills
from aiplat.tuning.trials import TrialPlan, Trials

# A trial of several workers needs room for these; the process that starts them computes nothing.
_LITTLE = 0.01
_OF_TUNE = "ray"
# Trials tell of what they raise themselves: what is left is the end of their process.
_LOST = Fault("lost", "its process died", rank=0)


def tune_on_cluster(
    trials: Trials,
    job: TrainJob,
    task: Task,
    scale: ScaleConfig,
    max_concurrent: int | None,
    watch: Callable[[Event], None],
) -> None:
    """Run trials until there are none left; every event of theirs reaches `watch`, as `trial`'s.

    job, task: the experiment without any of its settings changed; what would fail in every trial is
    found on it. Raises KeyboardInterrupt where the user ended it, and what the study raised.
    """
    job.rehearse(task)
    share = plan_trials(scale, max_concurrent)
    columns = tuple(task.columns)
    blocks = load_rows(job.version, columns)
    with watching(watch, Mailbox) as mailbox:
        desk = _Desk(trials, mailbox)
        shift = TrialShift(blocks, columns, share.scale, share.threads, share.gpus, mailbox)
        _tune(desk, shift, share)
    desk.check()


@dataclass(frozen=True)
class TrialShare:
    """What each trial gets. scale: of its worker group, where it has one."""

    scale: ScaleConfig
    concurrent: int
    cpus: float
    gpus: float
    threads: int


def plan_trials(scale: ScaleConfig, max_concurrent: int | None) -> TrialShare:
    """Divide the cluster among trials. Raises ClusterError where it has no room for one."""
    has = ray.cluster_resources()
    if scale.num_workers == "auto":
        scale = replace(scale, num_workers=1)
    if scale.num_workers != 1:
        return _of_groups(scale, max_concurrent)
    use_gpu = has.get("GPU", 0) > 0 if scale.use_gpu == "auto" else bool(scale.use_gpu)
    gpus = scale.gpus_per_worker if use_gpu else 0.0
    cpus = has.get("CPU", 1.0)
    rooms = [int(has.get("GPU", 0) / gpus + 1e-6)] if use_gpu else []
    if scale.cpus_per_worker != "auto":
        rooms.append(int(cpus / scale.cpus_per_worker + 1e-6))
    room = max(1, min(rooms or [int(cpus)]))
    concurrent = max_concurrent or room
    each = cpus / max(concurrent, 1) if scale.cpus_per_worker == "auto" else scale.cpus_per_worker
    plan_group(replace(scale, cpus_per_worker=each), can_grow=False)
    return TrialShare(scale, concurrent, each, gpus, max(1, int(each)))


def _of_groups(scale: ScaleConfig, max_concurrent: int | None) -> TrialShare:
    """Trials with several workers each: they share what the cluster has."""
    group = plan_group(scale, can_grow=False)
    has = ray.cluster_resources()
    room = int(has.get("GPU", 0)) // group.least if group.use_gpu else 0
    concurrent = max_concurrent or max(1, room or int(has.get("CPU", 1.0)) // group.least)
    if scale.cpus_per_worker == "auto":
        scale = replace(scale, cpus_per_worker=max(_LITTLE, group.cpus / concurrent))
    return TrialShare(scale, concurrent, _LITTLE, 0.0, 1)


def _tune(desk: "_Desk", shift: TrialShift, share: TrialShare) -> None:
    is_alone = shift.scale.num_workers == 1
    resources = {"CPU": share.cpus, **({"GPU": share.gpus} if share.gpus else {})}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, shift=shift), resources),
        tune_config=tune.TuneConfig(
            search_alg=_Search(desk),
            scheduler=_Schedule(desk),
            # The study knows when it has enough.
            num_samples=-1,
            max_concurrent_trials=share.concurrent,
            # What is left of a worker group ends with the process that started it.
            reuse_actors=is_alone,
            trial_name_creator=lambda trial: trial.config[PLAN].name,
            trial_dirname_creator=lambda trial: f"{trial.config[PLAN].name}-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=_OF_TUNE, storage_path=desk.folder, verbose=0, failure_config=tune.FailureConfig()
        ),
    )
    # It warns of each trial that it has no file of, and shows where Ray noticed that one died.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    tuner.fit()
    # Everything that counts is in the study and in the trials' runs.
    files.remove_folder(files.join(desk.folder, _OF_TUNE))


class _Desk:
    """Between the study and Tune's two hooks: who asks for trials, and who watches them."""

    def __init__(self, trials: Trials, mailbox: Any) -> None:
        self.trials = trials
        self.mailbox = mailbox
        self.folder = trials.folder
        self.oom_kills: dict[int, int] = {}
        self.error: BaseException | None = None

    def next(self) -> TrialPlan | None:
        """The next trial; None where there is none to start now, or something went wrong."""
        plan = None
        with self._ending_on_error():
            plan = None if self.error else self.trials.next()
        if plan is not None:
            self.oom_kills[plan.number] = num_oom_kills()
        return plan

    def take(self, plan: TrialPlan, result: dict[str, Any]) -> bool:
        """Take in what a trial reports; the answer is whether it ends now."""
        with self._ending_on_error():
            if not self._take(plan, result):
                return False
        return True

    def lose(self, plan: TrialPlan, error: Exception | None) -> None:
        """A trial's process is gone. error: what Ray says of it, where that is known."""
        was_killed = num_oom_kills() > self.oom_kills[plan.number]
        told = read_faults(plan.job.run_dir)
        known = faults_of_process(error, was_killed) if error else [_LOST]
        fault = first_cause([*known, *told])
        self.mailbox.put.remote([{**fault.event(), "trial": plan.number}])
        self.close(plan, "lost")
        with self._ending_on_error():
            self.trials.lost(plan.number, fault.cause, fault.line)

    def _take(self, plan: TrialPlan, result: dict[str, Any]) -> bool:
        if EPOCH in result:
            number, seconds = plan.number, result[SECONDS]
            if not self.trials.report(number, result[EPOCH], result[SCORE], seconds):
                return self.error is not None
            self.close(plan, "pruned")
        elif ENDING in result:
            self.close(plan, "finished")
            self.trials.complete(plan.number, result[ENDING])
        elif FAULT in result:
            fault: Fault = result[FAULT]
            self.close(plan, "failed")
            self.trials.fail(plan.number, fault.cause, fault.line)
        return True

    @contextmanager
    def _ending_on_error(self) -> Iterator[None]:
        """Tune would wrap up what the study raises, and go on with what runs."""
        try:
            yield
        except (AiplatError, KeyboardInterrupt) as error:
            self.error = error

    def close(self, plan: TrialPlan, status: str) -> None:
        """Tell whoever watches that nothing more comes of this trial."""
        self.mailbox.put.remote([{"kind": "closed", "trial": plan.number, "status": status}])

    def check(self) -> None:
        """Raise what ended the study before it was over."""
        if self.error is not None:
            raise self.error
        if not self.trials.is_over:
            raise KeyboardInterrupt


class _Search(Searcher):
    """Tune asks it for trials."""

    def __init__(self, desk: _Desk) -> None:
        super().__init__()
        self.desk = desk

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # noqa: ARG002
        """A trial's configuration; None where there is none to start now."""
        plan = self.desk.next()
        if plan is not None:
            return {PLAN: plan}
        return Searcher.FINISHED if self.desk.error or self.desk.trials.is_over else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The schedule has seen it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study remembers."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study remembers."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Schedule(FIFOScheduler):
    """Tune tells it how trials go."""

    def __init__(self, desk: _Desk) -> None:
        super().__init__()
        self.desk = desk

    def on_trial_result(self, _: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether the trial goes on."""
        ends = self.desk.take(trial.config[PLAN], result)
        return str(TrialScheduler.STOP if ends else TrialScheduler.CONTINUE)

    def on_trial_error(self, _: Any, trial: Any) -> None:
        """The trial's process ended without a word."""
        self.desk.lose(trial.config[PLAN], _error_of(trial))

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _error_of(trial: Any) -> Exception | None:
    """What Tune has just noted of a trial; its own look at it is at a copy that comes later."""
    noted = trial.pickled_error_file
    if not noted or not Path(noted).exists():
        return None
    error: Exception = cloudpickle.loads(Path(noted).read_bytes())
    return error
