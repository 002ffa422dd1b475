import random

import pytest

from aiplat.serving.releases.bounds import bounds


def test_nothing_is_known_of_nothing() -> None:
    assert bounds(0, 0, 0.01) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("total", "count", "alpha"), [(0, 10, 0.05), (10, 10, 0.05), (3, 50, 0.01), (2.5, 40, 0.01)]
)
def test_the_ends_are_where_the_likelihood_is_alpha_of_the_average(
    total: float, count: int, alpha: float
) -> None:
    lower, upper = bounds(total, count, alpha)
    assert 0 <= lower <= total / count <= upper <= 1
    steps = 200_000

    def likelihood(mean: float) -> float:
        return float(mean**total * (1 - mean) ** (count - total))

    average = sum(likelihood((step + 0.5) / steps) for step in range(steps)) / steps
    for end in {lower, upper} - {0.0, 1.0}:
        assert likelihood(end) == pytest.approx(alpha * average, rel=1e-4)


def test_more_requests_say_more() -> None:
    widths = [bounds(0.1 * count, count, 0.01) for count in (10, 100, 1000, 10_000)]
    assert [upper - lower for lower, upper in widths] == sorted(
        (upper - lower for lower, upper in widths), reverse=True
    )
    assert widths[-1] == pytest.approx((0.088, 0.113), abs=1e-2)


@pytest.mark.parametrize("mean", [0.02, 0.1, 0.5])
def test_whoever_looks_after_every_request_is_misled_no_more_often_than_promised(
    mean: float,
) -> None:
    alpha, misled = 0.2, 0
    for seed in range(200):
        generator, total = random.Random(seed), 0
        for count in range(1, 301):
            total += generator.random() < mean
            lower, upper = bounds(total, count, alpha)
            if not lower <= mean <= upper:
                misled += 1
                break
    # Of 200 with probability 0.2; it stays below, as it promises for any number of looks.
    assert misled <= 40


def test_shares_of_a_request_count_as_their_mean() -> None:
    """A request of which half the rows disagree is half a disagreement, and no more certain."""
    whole, halves = bounds(50, 100, 0.05), bounds(100 * 0.5, 100, 0.05)
    assert whole == halves
