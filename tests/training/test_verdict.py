from dataclasses import replace

import pytest

from aiplat.training.faults import Fault
from aiplat.training.verdict import Failure, verdict

KILLED = Fault("lost", "its process died", rank=1)
NODE = Fault("lost", "its node died", rank=1, is_blameless=True)
GLOO = Fault("lost", "RuntimeError: gloo: closed by 127.0.0.1:5132", 0, 7, error="RuntimeError")


def failed(fault: Fault, reached: int, is_counted: bool = False) -> Failure:
    return Failure(fault, reached, is_counted)


@pytest.mark.parametrize("cause", ["oom", "nan", "code", "data", "disk"])
def test_what_another_attempt_would_meet_again_is_final(cause: str) -> None:
    assert not verdict(Fault(cause, "x"), 5, [], max_failures=3).restarts  # type: ignore[arg-type]


@pytest.mark.parametrize("cause", ["oom", "nan"])
def test_what_the_runs_folder_answers_is_tried_again_and_not_counted(cause: str) -> None:
    fault = Fault(cause, "x", is_answered=True)  # type: ignore[arg-type]
    found = verdict(fault, 5, [failed(fault, 5)] * 9, max_failures=0)
    assert (found.restarts, found.is_counted) == (True, False)


def test_killed_processes_and_hangs_count() -> None:
    stalled = Fault("stall", "no progress for 600 s, in a", step=9)
    history = [failed(KILLED, 5, True), failed(stalled, 8, True)]
    found = verdict(KILLED, 20, history, max_failures=3)
    assert (found.restarts, found.is_counted) == (True, True)
    found = verdict(KILLED, 20, history, max_failures=2)
    assert not found.restarts
    assert "more often than scale.max_failures=2 allows" in found.reason


def test_lost_nodes_count_only_where_no_step_was_gained() -> None:
    history = [failed(NODE, step) for step in range(10, 30)]
    preempted = replace(NODE, cause="preempted")
    for fault in (NODE, preempted):
        found = verdict(fault, 30, history, max_failures=0)
        assert (found.restarts, found.is_counted) == (True, False)
        assert not verdict(fault, 29, history, max_failures=0).restarts
        assert verdict(fault, 29, history, max_failures=1).is_counted


def test_the_same_exception_at_the_same_step_twice_is_final() -> None:
    again = replace(GLOO, text="RuntimeError: gloo: closed by 127.0.0.1:9999", rank=1)
    found = verdict(again, 6, [failed(GLOO, 6, True)], max_failures=3)
    assert not found.restarts
    assert found.reason == "the same happened at the same step twice"
    later = replace(again, step=8)
    assert verdict(later, 7, [failed(GLOO, 6, True)], max_failures=3).restarts
    other = replace(again, text="RuntimeError: gloo: timed out")
    assert verdict(other, 6, [failed(GLOO, 6, True)], max_failures=3).restarts
    stalled = Fault("stall", "no progress for 600 s, in a (a.py:3)", step=9)
    assert not verdict(stalled, 8, [failed(stalled, 8, True)], max_failures=3).restarts


def test_a_process_killed_at_the_same_step_twice_is_no_sign_of_a_fault_of_the_code() -> None:
    assert verdict(KILLED, 6, [failed(KILLED, 6, True)], max_failures=3).restarts
