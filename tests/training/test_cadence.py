import time
from itertools import pairwise
from typing import Any

import pytest

from aiplat.training import cadence as cadence_module
from aiplat.training.cadence import Cadence, SaveCost
from aiplat.training.config import CheckpointConfig


class Clock:
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def cadence_of(cost: SaveCost | None = None, **config: Any) -> Cadence:
    cadence = Cadence(CheckpointConfig(**config), lambda: False)
    cadence.cost = cost
    return cadence


def saved_at(cadence: Cadence, clock: Clock, num_steps: int, step_s: float) -> list[int]:
    saved = []
    for step in range(1, num_steps + 1):
        clock.now += step_s
        if cadence.due(step, is_busy=False):
            saved.append(step)
            cadence.saved()
    return saved


@pytest.mark.parametrize(
    ("complete_s", "interval_s"),
    [
        # Cheap: a hundredth of the time, but not oftener than a tenth of what may be lost.
        (0.01, 6),
        (0.2, 20),
        # Dear: as seldom as may be.
        (1, 59),
        (10, 50),
        # Too slow for what was asked: as often as can be.
        (50, 50),
        (100, 100),
    ],
)
def test_the_interval_follows_from_what_a_save_takes_and_what_may_be_lost(
    clock: Clock, complete_s: float, interval_s: float
) -> None:
    cadence = cadence_of(SaveCost(0.0, complete_s), max_lost_s=60)
    steps = saved_at(cadence, clock, 1000, step_s=0.5)
    gaps = [later - earlier for earlier, later in zip([0, *steps], steps, strict=False)]
    assert len(gaps) >= 4
    assert all(2 * interval_s <= gap <= 2 * interval_s + 2 for gap in gaps)


def test_what_saving_costs_is_found_out_early(clock: Clock) -> None:
    assert saved_at(cadence_of(max_lost_s=60), clock, 8, step_s=1) == [6]


def test_saving_follows_the_steps(clock: Clock) -> None:
    cadence = cadence_of(max_lost_s=1e9, every_steps=30)
    assert saved_at(cadence, clock, 100, step_s=1) == [30, 60, 90]


def test_the_ranks_talk_now_and_then_only(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    cadence = cadence_of(SaveCost(0.0, 1.0), max_lost_s=60)
    looks = []

    def counted(value: Any) -> list[Any]:
        looks.append(clock.now)
        return [value]

    monkeypatch.setattr(cadence_module, "gather_objects", counted)
    steps = saved_at(cadence, clock, 5910, step_s=0.01)
    assert len(steps) == 1
    assert len(looks) < 50
    gaps = [later - earlier for earlier, later in pairwise(looks)]
    assert max(gaps) < 2.1, "a request must be noticed in time"


def test_slow_steps_are_saved_one_by_one(clock: Clock) -> None:
    assert saved_at(cadence_of(max_lost_s=60), clock, 4, step_s=100) == [1, 2, 3, 4]


def test_the_clock_waits_for_a_save_under_way_and_the_steps_do_not(clock: Clock) -> None:
    cadence = cadence_of(max_lost_s=60, every_steps=50)
    clock.now += 10
    assert not cadence.due(1, is_busy=True)
    clock.now += 10
    assert cadence.due(2, is_busy=False)
    assert cadence.due(50, is_busy=True)


def test_what_any_rank_was_asked_for_is_due_on_all(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cadence = cadence_of(max_lost_s=60)
    clock.now += 1
    assert not cadence.due(1, is_busy=True)
    of_another = (True, True, 1)
    monkeypatch.setattr(cadence_module, "gather_objects", lambda value: [value, of_another])
    cadence.saved()
    clock.now += 1
    assert cadence.due(2, is_busy=True)
    assert cadence.at_once
    cadence.saved()
    assert not cadence.at_once


def test_it_is_said_once_how_often_is_saved_and_what_that_costs(clock: Clock) -> None:
    cadence = cadence_of(max_lost_s=60)
    assert cadence.measured(SaveCost(0.03, 1.5)) is None, "no save came by the clock yet"
    saved_at(cadence, clock, 60, step_s=1)
    assert cadence.measured(SaveCost(0.03, 1.5)) == (
        "saving every 58.5 s: a save holds up training for 30 ms and counts after 1.5 s, so a "
        "crash costs 60 s at most"
    )
    assert cadence.measured(SaveCost(0.03, 1.5)) is None


def test_a_budget_that_cannot_be_kept_or_costs_much_is_said(clock: Clock) -> None:
    cadence = cadence_of(max_lost_s=10)
    saved_at(cadence, clock, 10, step_s=1)
    text = cadence.measured(SaveCost(1.5, 20.0))
    assert text is not None
    assert "a crash costs 40 s at most, more than checkpoint.max_lost_s=10" in text
    assert "that is 8% of the time, and a larger checkpoint.max_lost_s than 10 makes it" in text
