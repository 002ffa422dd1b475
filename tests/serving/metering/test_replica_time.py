from aiplat.serving.metering.replica_time import ReplicaClock, ReplicaMinute


class Time:
    """A clock that is set by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def times(minutes: list[ReplicaMinute]) -> list[tuple[int, float, float]]:
    return [(each.minute, each.alive_s, each.busy_s) for each in minutes]


def test_time_is_kept_by_the_minute_and_grows() -> None:
    now = Time(120.0)
    clock = ReplicaClock("clip", "3", now)
    now.now = 130.0
    clock.ran(4.0)
    assert times(clock.read()) == [(2, 10.0, 4.0)]
    now.now = 150.0
    assert times(clock.read()) == [(2, 30.0, 4.0)]


def test_a_pass_and_a_life_across_minutes_are_divided() -> None:
    now = Time(170.0)
    clock = ReplicaClock("clip", "3", now)
    now.now = 250.0
    clock.ran(75.0)
    assert times(clock.read()) == [(2, 10.0, 5.0), (3, 60.0, 60.0), (4, 10.0, 10.0)]


def test_what_passes_ran_for_nobody_is_kept_beside_them() -> None:
    now = Time(170.0)
    clock = ReplicaClock("clip", "3", now)
    now.now = 190.0
    clock.ran(15.0)
    clock.unclaimed(12.0)
    clock.unclaimed(1.0)
    minutes = clock.read()
    assert times(minutes) == [(2, 10.0, 5.0), (3, 10.0, 10.0)]
    assert [each.unclaimed_s for each in minutes] == [2.0, 11.0]


def test_only_what_changed_is_told() -> None:
    now = Time(170.0)
    clock = ReplicaClock("clip", "3", now)
    now.now = 190.0
    clock.read()
    now.now = 200.0
    assert times(clock.read()) == [(3, 20.0, 0.0)]
    assert clock.read() == []


def test_a_clock_that_is_set_back_takes_nothing_back() -> None:
    now = Time(130.0)
    clock = ReplicaClock("clip", "3", now)
    now.now = 140.0
    clock.read()
    now.now = 125.0
    assert clock.read() == []
    now.now = 130.0
    assert times(clock.read()) == [(2, 15.0, 0.0)]
