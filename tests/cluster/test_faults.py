"""What ends a worker group, told by stand-ins for Ray's errors; needs no cluster.

tests/training/test_failures.py has processes that die for real.
"""

from pathlib import Path
from typing import Any

import pytest

from aiplat.cluster.faults import Recovery, faults_of
from aiplat.errors import ClusterError, DataError
from aiplat.training.adjustments import read_adjustments
from aiplat.training.config import DatasetConfig, LoopConfig
from aiplat.training.faults import Fault, MemoryShortError, write_fault
from aiplat.training.job import TrainJob
from aiplat.training.memory import num_oom_kills
from aiplat.training.recipe import Recipe
from tests.fakes import TinyTask
from tests.training.failing import ActorDiedError, GroupError
from tests.training.runs import sgd


class WorkerHealthCheckFailedError(Exception):
    """Wraps what Ray met when it asked a worker how it does."""

    def __init__(self, failure: Exception) -> None:
        super().__init__("A worker health check failed.")
        self.health_check_failure = failure


WorkerHealthCheckFailedError.__module__ = "ray.train.v2._internal.exceptions"


class PreemptionError(Exception):
    """A node was taken back."""

    def __init__(self, ranks: list[int]) -> None:
        super().__init__("Training was interrupted by node preemption")
        self.preemption_info = type("Info", (), {"preempted_ranks": ranks})()


def preempted_actor() -> Exception:
    error = ActorDiedError("The actor died unexpectedly")
    error.preempted = True  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("failure", "line", "is_blameless"),
    [
        (ActorDiedError("The actor is dead"), "lost on rank 1: its process died", False),
        (
            ActorDiedError("The actor died because its node has died. Node Id: 1f"),
            "lost on rank 1: its node died",
            True,
        ),
        (preempted_actor(), "preempted on rank 1: the cluster took back its node", True),
        (
            ActorDiedError("1 worker(s) were killed due to the node running low on memory."),
            "oom on rank 1: Ray's memory monitor killed it: its node is short of it",
            False,
        ),
    ],
)
def test_dead_processes_are_told_apart(failure: Exception, line: str, is_blameless: bool) -> None:
    for error in (failure, WorkerHealthCheckFailedError(failure)):
        (fault,) = faults_of(GroupError({1: error}))
        assert (fault.line, fault.is_blameless) == (line, is_blameless)


def test_a_node_that_is_taken_back_is_preemption() -> None:
    (fault,) = faults_of(PreemptionError([2, 1]))
    assert fault.line == "preempted: the cluster took back the node of the workers of rank 1, 2"


class ControllerError(Exception):
    """Something went wrong around the workers."""

    def __init__(self, failure: Exception) -> None:
        super().__init__("Training failed due to controller error")
        self.controller_failure = failure


class WorkerGroupStartupTimeoutError(Exception):
    """Nodes are late."""


def test_only_a_group_that_did_not_start_is_tried_again(recovery: Recovery) -> None:
    late = WorkerGroupStartupTimeoutError("waiting for 2 workers")
    recovery.answer(ControllerError(late))
    assert told(recovery, "failure") == [
        "lost at step 1: the worker group did not start: waiting for 2 workers"
    ]
    with pytest.raises(ControllerError):
        recovery.answer(ControllerError(TypeError("a setting")))


def test_the_kernel_tells_how_many_it_killed_for_memory(tmp_path: Path) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 3\noom_kill 12\nswap_ra 0\n")
    assert num_oom_kills(tmp_path / "vmstat") == 12
    assert num_oom_kills(tmp_path / "missing") == 0
    (fault,) = faults_of(GroupError({0: ActorDiedError("dead")}), was_killed_for_memory=True)
    assert fault.line == "oom on rank 0: the kernel killed it: out of memory"


def test_of_a_silent_node_its_victims_do_not_take_the_blame(recovery: Recovery) -> None:
    for rank, node in enumerate(["a", "a", "b", "b"]):
        recovery.follow({"kind": "worker", "rank": rank, "node": node})
    recovery.follow({"kind": "start", "world_size": 4, "step": 7})
    # Rank 3 was ended before it could tell anything.
    recovery.answer(GroupError({2: RuntimeError("gloo: connection reset by peer")}))
    assert told(recovery, "failure") == ["lost at step 8 on rank 0: its node does not answer"]
    assert told(recovery, "note")[-1].endswith("not counted, for it is the cluster's doing")


def test_nodes_of_an_earlier_attempt_are_not_missed(recovery: Recovery) -> None:
    for rank, node in enumerate(["a", "b"]):
        recovery.follow({"kind": "worker", "rank": rank, "node": node})
    recovery.follow({"kind": "start", "world_size": 2, "step": 7})
    recovery.begin()
    recovery.follow({"kind": "worker", "rank": 0, "node": "a"})
    recovery.answer(GroupError({0: RuntimeError("gloo: connection reset by peer")}))
    assert told(recovery, "failure") == [
        "lost at step 8 on rank 0: RuntimeError: gloo: connection reset by peer"
    ]


@pytest.fixture
def recovery(tmp_path: Path) -> Recovery:
    recipe = Recipe(DatasetConfig("blobs", batch_size=16), make_optimizer=sgd, loop=LoopConfig())
    job = TrainJob(str(tmp_path), None, {}, {}, recipe)  # type: ignore[arg-type]
    told: list[dict[str, Any]] = []
    recovery = Recovery(job, TinyTask(), max_failures=1, watch=told.append)
    recovery.follow({"kind": "start", "step": 0, "world_size": 2})
    return recovery


def told(recovery: Recovery, kind: str) -> list[str]:
    events: list[dict[str, Any]] = recovery.watch.__self__  # type: ignore[attr-defined]
    return [event["text"] for event in events if event["kind"] == kind]


def test_a_worker_killed_for_memory_goes_on_with_smaller_micro_batches(recovery: Recovery) -> None:
    killed = GroupError({1: ActorDiedError("killed: the node is running low on memory")})
    for split, rows in ((2, 4), (4, 2), (8, 1)):
        recovery.answer(killed)
        assert read_adjustments(recovery.job.run_dir).split == split
        assert told(recovery, "failure")[-1].endswith(
            f"going on with {rows} rows at a time and twice as many micro-batches"
        )
    with pytest.raises(MemoryShortError, match="micro-batches are of one row already"):
        recovery.answer(killed)


def test_the_last_straw_is_told_in_one_line(recovery: Recovery) -> None:
    recovery.follow({"kind": "step", "step": 20})
    recovery.answer(GroupError({1: ActorDiedError("dead")}))
    assert told(recovery, "failure") == ["lost at step 21 on rank 1: its process died"]
    assert told(recovery, "note") == ["going on from the last checkpoint: restart 1 of 1"]
    with pytest.raises(ClusterError) as caught:
        recovery.answer(GroupError({0: ActorDiedError("dead")}))
    assert str(caught.value).startswith(
        "lost at step 21 on rank 0: its process died; that was more often than "
        "scale.max_failures=1 allows"
    )


def test_what_a_rank_told_before_it_died_is_the_cause_and_not_its_death(
    recovery: Recovery,
) -> None:
    recovery.begin()
    innocent = Fault("lost", "RuntimeError: gloo", 0, 5, at=1.0, is_consequence=True)
    write_fault(recovery.job.run_dir, innocent)
    write_fault(recovery.job.run_dir, Fault("data", "dataset version a@1, x", 1, 5, at=2.0))
    with pytest.raises(DataError, match=r"^data at step 5 on rank 1: dataset version a@1, x$"):
        recovery.answer(GroupError({0: RuntimeError("gloo"), 1: ActorDiedError("dead")}))


def test_an_error_of_the_code_is_raised_with_its_line_last(recovery: Recovery) -> None:
    error = GroupError({0: RuntimeError("gloo: Connection closed by peer"), 1: KeyError("point")})
    with pytest.raises(GroupError) as caught:
        recovery.answer(error)
    assert caught.value.__notes__[-1] == "code at step 1 on rank 1: KeyError: 'point'"
