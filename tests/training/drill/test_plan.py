from collections import Counter

import pytest

from aiplat.errors import ConfigError
from aiplat.training.drill.plan import plan_kills

KINDS = ("worker", "node", "driver")


def test_the_seed_alone_decides_the_plan() -> None:
    once, again = (plan_kills(KINDS, 20, 3, 600, seed=7) for _ in range(2))
    assert once == again
    assert once != plan_kills(KINDS, 20, 3, 600, seed=8)


def test_kills_come_in_order_of_their_steps_and_within_the_run() -> None:
    for seed in range(50):
        kills = plan_kills(KINDS, 20, 0, 100, seed)
        steps = [kill.step for kill in kills]
        assert steps == sorted(set(steps))
        assert steps[0] >= 2
        assert steps[-1] < 100
        assert [kill.number for kill in kills] == list(range(1, 21))


def test_every_kind_comes_equally_often_and_not_always_in_one_order() -> None:
    plans = [plan_kills(KINDS, 21, 0, 600, seed) for seed in range(3)]
    assert all(set(Counter(kill.kind for kill in plan).values()) == {7} for plan in plans)
    assert len({tuple(kill.kind for kill in plan) for plan in plans}) == 3


def test_as_many_kills_as_asked_damage_a_checkpoint_too() -> None:
    assert sum(kill.corrupt for kill in plan_kills(KINDS, 20, 3, 600, seed=0)) == 3


def test_a_run_too_short_for_its_kills_is_refused() -> None:
    with pytest.raises(ConfigError, match="kills=20, but the run has 12 steps"):
        plan_kills(KINDS, 20, 0, 12, seed=0)
    assert len(plan_kills(KINDS, 10, 0, 12, seed=0)) == 10
