"""How many rows a pass should take, held against trying every number."""

import itertools

import pytest

from aiplat.serving.batch_size import PassCost

GPU = PassCost(pass_s=0.010, row_s=0.0001)
CPU = PassCost(pass_s=0.001, row_s=0.005)
NEVER = 1e9


def mean_s(cost: PassCost, waiting: int, size: int) -> float:
    """Until those that wait are answered, `size` of them at a time."""
    ends = list(itertools.accumulate([cost.pass_s + size * cost.row_s] * (waiting // size)))
    return sum(ends) / len(ends)


@pytest.mark.parametrize("cost", [GPU, CPU, PassCost(0.004, 0.004), PassCost(0.0, 0.005)])
def test_where_nobody_else_comes_those_that_wait_are_answered_soonest(cost: PassCost) -> None:
    for waiting in (1, 2, 6, 24, 120):
        sizes = [size for size in range(1, waiting + 1) if waiting % size == 0]
        best = min(mean_s(cost, waiting, size) for size in sizes)
        chosen = cost.batch_size(waiting, NEVER)
        nearest = min(sizes, key=lambda size: abs(size - chosen))
        assert mean_s(cost, waiting, nearest) <= 1.05 * best


def test_a_pass_that_costs_the_same_for_all_takes_all() -> None:
    assert [GPU.batch_size(waiting, NEVER) for waiting in (1, 5, 50)] == [1, 5, 50]


def test_a_pass_that_costs_as_much_again_for_each_takes_few() -> None:
    assert [CPU.batch_size(waiting, NEVER) for waiting in (1, 5, 50)] == [1, 1, 3]


@pytest.mark.parametrize(("pause_s", "size"), [(0.020, 2), (0.0066, 4), (0.006, 16), (0.0, 16)])
def test_no_fewer_than_it_takes_to_keep_up(pause_s: float, size: int) -> None:
    # A row takes 6 ms in a pass of its own, and never less than 5: four fifths of 6.25.
    assert CPU.batch_size(16, pause_s) == size


def test_the_cost_is_that_of_a_lone_row_and_of_a_full_pass() -> None:
    measured = PassCost.measured(0.006, 0.081, 16)
    assert (measured.pass_s, measured.row_s) == pytest.approx((0.001, 0.005))
    # One that takes no longer for many, by the clock even shorter; and one that never takes two.
    assert PassCost.measured(0.006, 0.005, 16) == PassCost(0.006, 0.0)
    assert PassCost.measured(0.006, 0.006, 1) == PassCost(0.006, 0.0)
