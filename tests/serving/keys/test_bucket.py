import random

import pytest

from aiplat.serving.keys.bucket import TokenBucket

SEEDS = range(40)


def arrivals(seed: int, rate: float) -> list[float]:
    """Moments of requests: crowds and pauses, about five times as many as pass."""
    generator = random.Random(seed)
    now, moments = 0.0, []
    for _ in range(500):
        now += generator.choice([0.0, 0.0, generator.expovariate(5 * rate), 2 / rate])
        moments.append(now)
    return moments


def passed(moments: list[float], rate: float, burst: float) -> list[float]:
    bucket = TokenBucket()
    return [now for now in moments if bucket.take(rate, burst, now) == 0]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("rate", "burst"), [(10, 20), (3, 1), (0.5, 4), (1000, 7)])
def test_in_no_span_of_time_pass_more_than_the_burst_and_what_the_rate_gives(
    seed: int, rate: float, burst: int
) -> None:
    moments = passed(arrivals(seed, rate), rate, burst)
    assert len(moments) > burst
    for first, start in enumerate(moments):
        for last in range(first, len(moments)):
            assert last - first + 1 <= burst + rate * (moments[last] - start) + 1e-6


@pytest.mark.parametrize("seed", SEEDS)
def test_who_waits_as_long_as_told_passes_and_who_does_not_is_refused(seed: int) -> None:
    generator = random.Random(seed)
    rate, burst = generator.uniform(0.1, 50), generator.randint(1, 20)
    bucket, now = TokenBucket(), generator.uniform(0, 1e9)
    for _ in range(200):
        wait_s = bucket.take(rate, burst, now)
        if wait_s:
            assert bucket.take(rate, burst, now + wait_s * 0.9) > 0
            now += wait_s
            assert bucket.take(rate, burst, now + 1e-6) == 0
            now += 1e-6


def test_a_full_bucket_lets_its_burst_through_and_no_more() -> None:
    bucket = TokenBucket()
    assert [bucket.take(2, 3, 100.0) for _ in range(5)] == [0, 0, 0, 0.5, 0.5]


def test_a_pause_fills_it_no_further_than_its_burst() -> None:
    bucket = TokenBucket()
    bucket.take(1, 2, 0.0)
    assert [bucket.take(1, 2, 1e6) == 0 for _ in range(4)] == [True, True, False, False]


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    bucket = TokenBucket()
    assert bucket.take(1, 2, 50.0) == 0
    assert [bucket.take(1, 2, 10.0) == 0 for _ in range(2)] == [True, False]
    assert bucket.take(1, 2, 11.0) == 0


def test_a_share_of_less_than_one_token_still_lets_one_through() -> None:
    bucket = TokenBucket()
    assert bucket.take(0.5, 0.5, 0.0) == 0
    assert bucket.take(0.5, 0.5, 1.0) == pytest.approx(1.0)
