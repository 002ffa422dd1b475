"""What ended a worker group, and whether another one is started: Ray's errors and the ranks' own.

Knows Ray's errors by what they say of themselves, and imports nothing of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from aiplat.errors import AiplatError, ClusterError, DataError
from aiplat.tasks.task import Task
from aiplat.training.adjustments import read_adjustments, write_adjustments
from aiplat.training.checkpoint import CheckpointError
from aiplat.training.divergence import DivergenceError
from aiplat.training.faults import (
    Fault,
    MemoryShortError,
    clear_faults,
    fault_of,
    first_cause,
    one_line,
    read_faults,
)
from aiplat.training.job import TrainJob
from aiplat.training.memory import num_oom_kills
from aiplat.training.triage import refusal
from aiplat.training.verdict import Failure, verdict

_NODE_LOST = ("node has died", "node was terminated", "node is dead")
# Ray names what comes of nodes that died or are late so; the rest of it is our doing.
_NOT_STARTED = "WorkerGroupStartup"
_MEMORY_MONITOR = "low on memory"
_RAISED_AS: Mapping[str, type[AiplatError]] = {
    "oom": MemoryShortError,
    "nan": DivergenceError,
    "data": DataError,
    "disk": CheckpointError,
}


@dataclass
class Recovery:
    """Follows a run through its attempts and answers their failures.

    watch: gets every event that `follow` gets, and those of failures.
    """

    job: TrainJob
    task: Task
    max_failures: int
    watch: Callable[[dict[str, Any]], None]
    history: list[Failure] = field(default_factory=list)
    reached: int = 0
    world_size: int = 1
    # The machine may have had some long ago.
    oom_kills: int = field(default_factory=num_oom_kills)
    nodes: dict[int, str] = field(default_factory=dict)

    def follow(self, event: dict[str, Any]) -> None:
        """Note how far the run has come and which rank is where, and pass the event on."""
        self.reached = max(self.reached, event.get("step") or 0)
        self.world_size = event.get("world_size", self.world_size)
        if event["kind"] == "worker":
            self.nodes[event["rank"]] = event["node"]
        self.watch(event)

    def begin(self) -> None:
        """Call before every attempt."""
        clear_faults(self.job.run_dir)
        # A smaller group must not be taken for one with silent nodes.
        self.nodes.clear()
        self.oom_kills = num_oom_kills()

    def answer(self, error: Exception) -> None:
        """Make ready for another attempt, or raise the first cause where there is to be none.

        What training code raised is raised as itself; ClusterError where processes were lost.
        """
        was_killed_for_memory = num_oom_kills() > self.oom_kills
        faults = [*faults_of(error, was_killed_for_memory), *read_faults(self.job.run_dir)]
        fault = self._split(self._unheard(first_cause(faults), faults))
        self.reached = max([self.reached, *(each.step - 1 for each in faults if each.step)])
        if fault.step is None:
            fault = replace(fault, step=self.reached + 1)
        found = verdict(fault, self.reached, self.history, self.max_failures)
        self.history.append(Failure(fault, self.reached, found.is_counted))
        self.watch(fault.event())
        if not found.restarts:
            _raise(fault, error, found.reason)
        text = f"going on from the last checkpoint: {found.reason}"
        self.watch({"kind": "note", "text": text})

    def _unheard(self, first: Fault, faults: list[Fault]) -> Fault:
        """Instead of what its victims met: that a node is silent. Ray notices its death later."""
        heard = {self.nodes.get(fault.rank) for fault in faults if fault.rank is not None}
        silent = [
            rank
            for rank, node in sorted(self.nodes.items())
            if rank < self.world_size and node not in heard
        ]
        if not (first.is_consequence and heard and silent):
            return first
        text = "its node does not answer"
        return Fault("lost", text, silent[0], first.step, first.at, is_blameless=True)

    def _split(self, fault: Fault) -> Fault:
        """Killed for memory, a worker cannot ask for smaller micro-batches: do it in its place."""
        if fault.cause != "oom" or fault.is_answered or fault.error:
            return fault
        adjustments = read_adjustments(self.job.run_dir)
        recipe = adjustments.applied(self.job.recipe)
        problem = refusal(recipe, self.task, self.world_size)
        if problem:
            return replace(fault, text=f"{fault.text}; {problem}")
        write_adjustments(self.job.run_dir, adjustments.halved())
        rows = -(-recipe.micro_batch_rows(self.world_size) // 2)
        text = f"{fault.text}; going on with {rows} rows at a time and twice as many micro-batches"
        return replace(fault, text=text, is_answered=True)


def faults_of(error: Exception, was_killed_for_memory: bool = False) -> list[Fault]:
    """What Ray knows of each rank that ended. was_killed_for_memory: the kernel did it, here."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    found = [_fault(failure, rank, was_killed_for_memory) for rank, failure in failures.items()]
    return found or [_of_the_group(error)]


def faults_of_process(error: Exception, was_killed_for_memory: bool = False) -> list[Fault]:
    """What Ray knows of a lone process that ended."""
    return [_fault(error, 0, was_killed_for_memory)]


def _of_the_group(error: Exception) -> Fault:
    preemption = getattr(error, "preemption_info", None)
    if preemption is not None:
        ranks = ", ".join(map(str, sorted(preemption.preempted_ranks)))
        text = f"the cluster took back the node of the workers of rank {ranks}"
        return Fault("preempted", text, is_blameless=True)
    failure = getattr(error, "controller_failure", error)
    if not type(failure).__name__.startswith(_NOT_STARTED):
        text = f"{type(failure).__name__}: {one_line(failure)}"
        return Fault("code", text, error=type(failure).__name__)
    text = f"the worker group did not start: {one_line(failure)}"
    is_blameless = any(part in text.lower() for part in _NODE_LOST)
    return Fault("lost", text, is_blameless=is_blameless)


def _fault(failure: Exception, rank: int, was_killed_for_memory: bool) -> Fault:
    if type(failure).__module__.partition(".")[0] != "ray":
        return fault_of(failure, rank)
    cause = getattr(failure, "health_check_failure", failure)
    text, name = str(cause).lower(), type(cause).__name__
    by_monitor = name == "OutOfMemoryError" or _MEMORY_MONITOR in text
    known = [
        (
            getattr(cause, "preempted", False),
            Fault("preempted", "the cluster took back its node", rank, is_blameless=True),
        ),
        (
            any(part in text for part in _NODE_LOST),
            Fault("lost", "its node died", rank, is_blameless=True),
        ),
        (by_monitor, Fault("oom", "Ray's memory monitor killed it: its node is short of it", rank)),
        (
            name == "WorkerHealthCheckTimeoutError",
            Fault("stall", "its process does not answer", rank),
        ),
        (was_killed_for_memory, Fault("oom", "the kernel killed it: out of memory", rank)),
        (name.startswith("Actor"), Fault("lost", "its process died", rank)),
    ]
    # The rest are blocks of a node that died, and the like.
    return next((fault for is_it, fault in known if is_it), fault_of(failure, rank))


def _raise(fault: Fault, error: Exception, reason: str) -> NoReturn:
    failure = getattr(error, "worker_failures", {}).get(fault.rank)
    if isinstance(failure, AiplatError):
        raise failure from None
    if fault.cause == "code":
        if failure is None:
            # Ray looked before this rank had come to its end, and reports others.
            error.add_note(fault.details)
        # The last line of the traceback.
        error.add_note(fault.line)
        raise error
    kind = _RAISED_AS.get(fault.cause)
    if kind is not None:
        raise kind(fault.line) from None
    raise ClusterError(
        f"{fault.line}; {reason}: look at the cluster, then start the run again, it continues from "
        "its last checkpoint"
    ) from None
