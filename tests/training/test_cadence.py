import time

import pytest

from aiplat.training import cadence as cadence_module
from aiplat.training.cadence import Cadence
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


def saved_at(cadence: Cadence, clock: Clock, num_steps: int, step_s: float) -> list[int]:
    saved = []
    for step in range(1, num_steps + 1):
        clock.now += step_s
        if cadence.due(step):
            saved.append(step)
            cadence.saved()
    return saved


def test_saving_follows_the_clock(clock: Clock) -> None:
    cadence = Cadence(CheckpointConfig(every_s=60))
    steps = saved_at(cadence, clock, 1000, step_s=0.5)
    gaps = [later - earlier for earlier, later in zip([0, *steps], steps, strict=False)]
    assert len(steps) == 8
    assert all(120 <= gap <= 122 for gap in gaps)


def test_saving_follows_the_steps(clock: Clock) -> None:
    cadence = Cadence(CheckpointConfig(every_s=1e9, every_steps=30))
    assert saved_at(cadence, clock, 100, step_s=1) == [30, 60, 90]


def test_the_clock_is_looked_at_now_and_then_only(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cadence = Cadence(CheckpointConfig(every_s=60))
    looks = []

    def counted(value: tuple[bool, int]) -> tuple[bool, int]:
        looks.append(value)
        return value

    monkeypatch.setattr(cadence_module, "broadcast_object", counted)
    saved_at(cadence, clock, 5000, step_s=0.01)
    assert len(looks) < 30


def test_slow_steps_are_saved_one_by_one(clock: Clock) -> None:
    cadence = Cadence(CheckpointConfig(every_s=60))
    assert saved_at(cadence, clock, 4, step_s=100) == [1, 2, 3, 4]
