from typing import Any

import pytest

from aiplat.training.drill.plan import Kill
from aiplat.training.drill.recovery import Recovery, Strike, percentiles, recoveries


def strike(at: float, kind: str = "worker", back_at: float | None = None) -> Strike:
    return Strike(Kill(1, kind, 10, 0), at, 10, 1, num_workers=4, back_at=back_at)


def event(at: float, kind: str, **rest: Any) -> dict[str, Any]:
    return {"at": at, "kind": kind, "rank": 0, **rest}


def start(at: float, step: int = 8, world_size: int = 2) -> dict[str, Any]:
    return event(at, "start", step=step, world_size=world_size)


BEFORE = [event(99, "step", step=10), event(99.5, "note", text="something earlier")]


def found(strikes: list[Strike], events: list[dict[str, Any]]) -> Recovery:
    recovery = recoveries(strikes, [*BEFORE, *events])[0]
    assert recovery is not None
    return recovery


def test_a_recovery_is_cut_into_its_phases() -> None:
    events = [
        event(100.0, "step", step=11),
        event(102, "note", text="lost the worker of rank 1"),
        event(107, "started"),
        event(108, "started"),
        start(110),
        event(113, "step", step=9),
        event(114, "step", step=10),
    ]
    recovery = found([strike(100)], events)
    assert (recovery.detect, recovery.reschedule) == (2, 6)
    assert (recovery.restore, recovery.first_step) == (2, 3)
    assert recovery.total == 13
    assert (recovery.step, recovery.num_workers) == (8, 2)
    assert recovery.cause == "lost the worker of rank 1"


def test_the_death_of_the_driver_is_known_to_who_starts_it_again() -> None:
    events = [event(106, "note", text="damaged"), event(105, "started"), start(107)]
    events.append(event(108, "step", step=9))
    recovery = found([strike(100, "driver", back_at=100.5)], events)
    assert (recovery.detect, recovery.reschedule) == (0.5, 4.5)


def test_a_first_try_that_failed_belongs_to_the_recovery() -> None:
    events = [
        event(102, "failure", text="lost"),
        event(105, "started"),
        start(106),
        event(107, "failure", text="lost again"),
        event(110, "started"),
        start(111, world_size=3),
        event(112, "step", step=9),
    ]
    recovery = found([strike(100)], events)
    assert recovery.total == 12
    assert (recovery.detect, recovery.reschedule) == (2, 8)
    assert recovery.num_workers == 3


def test_each_strike_has_the_events_up_to_the_next_one() -> None:
    lost, back = event(101, "note", text="x"), event(103, "step", step=9)
    events = [lost, start(102), back, event(201, "note", text="y"), start(205)]
    events.append(event(209, "step", step=12))
    first, second = recoveries([strike(100), strike(200)], events)
    assert first is not None
    assert second is not None
    assert (first.total, second.total) == (3, 9)


@pytest.mark.parametrize("events", [[], [start(102)]], ids=["nothing", "no step"])
def test_a_run_that_did_not_go_on_has_no_recovery(events: list[dict[str, Any]]) -> None:
    assert recoveries([strike(100)], events) == [None]


def test_percentiles_of_known_times() -> None:
    def taking(seconds: float) -> Recovery:
        return Recovery(strike(0), seconds, 0, 0, 0, step=1, num_workers=1, cause=None)

    group = [taking(float(seconds)) for seconds in range(101)]
    assert percentiles(group, "detect") == (50, 95)
    assert percentiles(group, "total") == (50, 95)
    assert percentiles([taking(3)], "detect") == (3, 3)
