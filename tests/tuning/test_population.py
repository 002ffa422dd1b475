"""Who goes on in a population, from whose weights, with which settings."""

import random
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from aiplat.tuning.notes import GENERATION, PARENT, PREDECESSOR, VALUES
from aiplat.tuning.population import explored, successor
from aiplat.tuning.space import space_of

SPACE = space_of(
    {
        "optim.lr": {"loguniform": [1e-4, 1e-1]},
        "model.width": {"int": [8, 64, 8]},
        "dataset.batch_size": {"choice": [16, 32]},
    }
)


def member(number: int, score: float | None, generation: int = 0, **notes: Any) -> FrozenTrial:
    """A trial that ended with a score, or failed."""
    values = {"optim.lr": 0.01 + number / 1000, "model.width": 16, "dataset.batch_size": 32}
    trial = optuna.trial.create_trial(
        state=TrialState.FAIL if score is None else TrialState.COMPLETE,
        value=score,
        user_attrs={VALUES: values, GENERATION: generation, **notes},
    )
    trial.number = number
    return trial


def test_the_worst_member_goes_on_from_the_best_near_its_settings() -> None:
    members = [member(0, 0.1), member(1, 0.9), member(2, 0.8), member(3, 0.7)]
    following = successor(members, SPACE, maximize=True, last=3, seed=0)
    assert following is not None
    assert (following.generation, following.predecessor, following.parent) == (1, 0, 1)
    assert following.values["optim.lr"] != members[1].user_attrs[VALUES]["optim.lr"]


def test_a_good_member_goes_on_as_it_is() -> None:
    members = [member(0, 0.9), member(1, 0.1)]
    following = successor(members, SPACE, maximize=True, last=3, seed=0)
    assert following is not None
    assert (following.predecessor, following.parent) == (0, 0)
    assert following.values == members[0].user_attrs[VALUES]


def test_where_less_is_better_the_largest_score_is_the_worst() -> None:
    members = [member(0, 0.9), member(1, 0.1)]
    following = successor(members, SPACE, maximize=False, last=3, seed=0)
    assert following is not None
    assert (following.predecessor, following.parent) == (0, 1)


def test_a_member_that_failed_is_replaced() -> None:
    members = [member(0, None), member(1, 0.5), member(2, 0.6)]
    following = successor(members, SPACE, maximize=True, last=3, seed=0)
    assert following is not None
    assert (following.predecessor, following.parent) == (0, 2)


def test_each_member_has_one_successor_and_the_last_generation_has_none() -> None:
    first = [member(0, 0.5), member(1, 0.6)]
    second = [
        member(2, 0.7, 1, **{PREDECESSOR: 0, PARENT: 0}),
        member(3, 0.8, 1, **{PREDECESSOR: 1, PARENT: 1}),
    ]
    following = successor([*first, *second], SPACE, maximize=True, last=2, seed=0)
    assert following is not None
    assert following.generation == 2
    assert successor([*first, *second], SPACE, maximize=True, last=1, seed=0) is None


def test_nobody_goes_on_while_none_has_a_result() -> None:
    assert successor([], SPACE, maximize=True, last=3, seed=0) is None
    assert successor([member(0, None)], SPACE, maximize=True, last=3, seed=0) is None


@pytest.mark.parametrize("seed", range(30))
def test_explored_settings_stay_in_the_space(seed: int) -> None:
    values = {"optim.lr": 0.09, "model.width": 64, "dataset.batch_size": 16}
    found = explored(values, SPACE, random.Random(seed))
    assert found.keys() == values.keys()
    for parameter in SPACE.parameters:
        assert parameter.holds(found[parameter.path])
    assert isinstance(found["model.width"], int)
    assert found["model.width"] % 8 == 0
