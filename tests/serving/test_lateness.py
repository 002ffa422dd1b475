from aiplat.serving.lateness import Lateness


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_requests_are_counted_by_how_late_they_are_and_why() -> None:
    lateness = Lateness(0.1)
    for took_s, queue_s in [
        (0.05, 0.04),  # in time
        (0.09, 0.08),  # close
        (0.15, 0.08),  # late because it waited
        (0.25, 0.05),  # late anyway
    ]:
        lateness.answered(took_s, queue_s)
    assert lateness.report() == {"requests": 4, "close": 3, "late": 2, "waited": 1}
    lateness.refused()
    assert lateness.report() == {"requests": 5, "close": 4, "late": 3, "waited": 2}


def test_what_is_long_ago_is_forgotten() -> None:
    now = Time()
    lateness = Lateness(0.1, now)
    lateness.answered(1.0, 1.0)
    now.now += 20
    lateness.answered(0.01, 0.0)
    assert lateness.report() == {"requests": 2, "close": 1, "late": 1, "waited": 1}
    now.now += 11
    assert lateness.report() == {"requests": 1, "close": 0, "late": 0, "waited": 0}
    now.now += 1000
    assert lateness.report()["requests"] == 0
