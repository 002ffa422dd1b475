"""What may vary is described as data: read, drawn from and checked before any trial."""

import math
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from aiplat.errors import ConfigError
from aiplat.tuning.space import Space, space_of

OPTIM: dict[str, Any] = {"choice": ["adamw", "sgd"]}
MOMENTUM: dict[str, Any] = {"uniform": [0.5, 0.9], "when": {"optim": "sgd"}}
NESTEROV: dict[str, Any] = {"choice": [True, False], "when": {"optim": "sgd"}}


def only(description: dict[str, Any]) -> Any:
    """How the one setting that is described so varies."""
    (parameter,) = space_of({"optim.lr": description}).parameters
    return parameter.distribution


def fault(**tree: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        space_of(tree)
    return str(refused.value)


def drawn(space: Space, count: int = 100) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    return [space.suggest(study.ask()) for _ in range(count)]


def paths(space: Space) -> list[str]:
    return [parameter.path for parameter in space.parameters]


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({"uniform": [0, 0.5]}, FloatDistribution(0.0, 0.5)),
        ({"loguniform": [1e-4, 1]}, FloatDistribution(1e-4, 1.0, log=True)),
        ({"quniform": [0.0, 1.0, 0.25]}, FloatDistribution(0.0, 1.0, step=0.25)),
        ({"int": [1, 5]}, IntDistribution(1, 5)),
        ({"int": [2, 10, 4]}, IntDistribution(2, 10, step=4)),
        ({"int": [1.0, 5.0]}, IntDistribution(1, 5)),
        ({"logint": [8, 512]}, IntDistribution(8, 512, log=True)),
        ({"choice": [32, 64]}, optuna.distributions.CategoricalDistribution([32, 64])),
    ],
)
def test_every_kind_is_what_it_says(description: dict[str, Any], expected: Any) -> None:
    assert only(description) == expected


def test_nested_keys_and_dotted_ones_mean_the_same() -> None:
    choice = {"choice": [1, 2]}
    dotted = space_of({"optim.lr": {"uniform": [0, 1]}, "model.tower.width": choice})
    nested = space_of({"optim": {"lr": {"uniform": [0, 1]}}, "model": {"tower": {"width": choice}}})
    between = space_of({"optim": {"lr": {"uniform": [0, 1]}}, "model.tower": {"width": choice}})
    assert dotted == nested == between
    assert paths(dotted) == ["optim.lr", "model.tower.width"]


@pytest.mark.parametrize("is_first", [True, False])
def test_of_a_dotted_key_and_a_nested_one_the_nested_one_wins(is_first: bool) -> None:
    # A file says the dotted one, and `tuning.space.optim.lr.uniform=[0,1]` makes the nested one.
    dotted = {"optim.lr": {"choice": [0.1]}}
    nested = {"optim": {"lr": {"uniform": [0, 1]}}}
    (parameter,) = space_of({**nested, **dotted} if is_first else {**dotted, **nested}).parameters
    assert parameter.distribution == FloatDistribution(0.0, 1.0)


def test_null_takes_a_setting_out_of_the_space() -> None:
    tree = {"optim.lr": {"choice": [0.1]}, "model.dropout": {"uniform": [0, 1]}}
    assert paths(space_of({**tree, "optim": {"lr": None}})) == ["model.dropout"]
    assert paths(space_of({**tree, "model.dropout": None})) == ["optim.lr"]


def test_a_setting_may_be_called_as_a_kind() -> None:
    space = space_of({"model": {"int": {"uniform": [0, 1]}, "choice": {"int": [1, 2]}}})
    assert paths(space) == ["model.int", "model.choice"]


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ({"unifrom": [0, 1]}, "got 'unifrom'; did you mean 'uniform'?"),
        ({"gauss": [0, 1]}, "expected one of uniform, loguniform, quniform, int, logint, choice"),
        ({"uniform": [0, 1], "int": [0, 1]}, "got 'uniform', 'int'"),
        ({"when": {"optim": "sgd"}}, "got none"),
        (0.1, "with its values, got 0.1"),
        ([0.1, 0.2], "with its values, got [0.1, 0.2]"),
        ("choice", "with its values, got 'choice'"),
        ({}, "got none"),
        ({"uniform": 3}, "uniform is 3, expected a list"),
        ({"choice": []}, "choice is [], expected a list"),
        ({"uniform": [0]}, "uniform is [0], expected 2 numbers"),
        ({"uniform": [0, 1, 2]}, "uniform is [0, 1, 2], expected 2 numbers"),
        ({"quniform": [0, 1]}, "expected 3 numbers"),
        ({"int": [1]}, "int is [1], expected 2 or 3 numbers"),
        ({"logint": [1, 8, 2]}, "logint is [1, 8, 2], expected 2 numbers"),
        ({"uniform": ["a", "b"]}, "uniform is ['a', 'b'], expected 2 numbers"),
        ({"int": [False, True]}, "int is [False, True], expected 2 or 3 numbers"),
        ({"uniform": [1, 0]}, "uniform is [1, 0], expected low <= high"),
        ({"loguniform": [0, 1]}, "loguniform is [0, 1], expected 0 < low <= high"),
        ({"logint": [0, 8]}, "logint is [0, 8], expected 0 < low <= high"),
        ({"quniform": [0, 1, 0]}, "and a step above 0"),
        ({"int": [0, 4, -1]}, "and a step above 0"),
        ({"int": [0.5, 2]}, "int is [0.5, 2], expected whole numbers"),
        ({"int": [0, 2, 0.5]}, "expected whole numbers"),
        ({"logint": [1, 2.5]}, "expected whole numbers"),
        ({"choice": [1, 2, 1]}, "choice has a value twice: [1, 2, 1]"),
        ({"choice": [[1], [1]]}, "choice has a value twice"),
        ({"choice": [1], "when": "sgd"}, "when is 'sgd', expected a mapping such as {optim: sgd}"),
        ({"uniform": [0, math.inf]}, "uniform is [0, inf]"),
        ({"uniform": [math.nan, 1]}, "uniform is [nan, 1]"),
        ({"int": [0, math.inf]}, "int is [0, inf]"),
    ],
)
def test_a_wrong_description_is_named_with_its_path(description: Any, said: str) -> None:
    message = fault(**{"optim.lr": description})
    assert message.startswith("the search space is not one:\n  tuning.space.optim.lr: ")
    assert said in message


@pytest.mark.parametrize(
    ("path", "fixed"),
    [
        ("name", "name"),
        ("storage", "storage"),
        ("scale.num_workers", "scale"),
        ("tuning.sampler", "tuning"),
        ("dataset.name", "dataset.name"),
    ],
)
def test_what_belongs_to_the_study_cannot_vary_in_it(path: str, fixed: str) -> None:
    message = fault(**{path: {"choice": [1, 2]}})
    assert f"tuning.space.{path}: {fixed} is of the study" in message


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ({"optmi": "sgd"}, "when.optmi is not in tuning.space: leave it out, or let it vary"),
        ({"model.width": 3}, "when.model.width is a range; only what is a choice can be"),
        ({"optim": "adam"}, "when.optim='adam' is none of its choices"),
        ({"optim": ["sgd", "adam"]}, "when.optim='adam' is none of its choices"),
        ({"optim.momentum": 0.5}, "tuning.space.optim.momentum: its conditions go in a circle"),
    ],
)
def test_a_condition_that_cannot_be_is_named(when: dict[str, Any], said: str) -> None:
    tree = {
        "optim": OPTIM,
        "model.width": {"int": [1, 9]},
        "optim.momentum": {"choice": [0.5, 0.9], "when": when},
    }
    assert said in fault(**tree)


def test_conditions_in_a_circle_are_named_and_what_hangs_on_it_is_not_looped_over() -> None:
    message = fault(
        a={"choice": [1], "when": {"b": 1}},
        b={"choice": [1], "when": {"a": 1}},
        c={"choice": [1], "when": {"a": 1}},
    )
    assert message.count("its conditions go in a circle") == 2
    assert "tuning.space.c" not in message


def test_all_faults_are_named_at_once() -> None:
    message = fault(
        optim={"lr": {"unifrom": [0, 1]}, "momentum": MOMENTUM},
        name={"choice": ["a"]},
        **{"model.dropout": {"uniform": [1, 0]}},
    )
    named = [line.partition(":")[0].strip() for line in message.splitlines()[1:]]
    assert named == [
        "tuning.space.model.dropout",
        "tuning.space.name",
        "tuning.space.optim.lr",
        "tuning.space.optim.momentum",
    ]


def test_what_is_drawn_lies_in_the_range_and_on_its_steps() -> None:
    space = space_of(
        {
            "flat": {"uniform": [-1, 1]},
            "log": {"loguniform": [1e-6, 1]},
            "steps": {"quniform": [0.5, 2.5, 0.5]},
            "whole": {"int": [2, 10, 4]},
            "doubled": {"logint": [1, 1024]},
        }
    )
    points = drawn(space)
    assert all(-1 <= point["flat"] <= 1 and 1e-6 <= point["log"] <= 1 for point in points)
    assert {point["steps"] for point in points} == {0.5, 1.0, 1.5, 2.0, 2.5}
    assert {point["whole"] for point in points} == {2, 6, 10}
    assert all(isinstance(point["doubled"], int) for point in points)
    # Half of what is drawn lies below the middle of the logarithms.
    assert 35 <= sum(point["log"] < 1e-3 for point in points) <= 65
    assert 35 <= sum(point["doubled"] < 32 for point in points) <= 65


def test_a_step_that_does_not_meet_the_end_leaves_the_end_out() -> None:
    space = space_of({"a": {"quniform": [0, 1, 0.3]}, "b": {"int": [0, 10, 4]}})
    assert list(space.samples()) == [{"a": 0.0}, {"a": 0.9}, {"b": 0}, {"b": 8}]


def test_a_setting_is_drawn_only_where_it_matters() -> None:
    # The one that depends is described first, and drawn after what it depends on.
    space = space_of({"optim.momentum": MOMENTUM, "optim.nesterov": NESTEROV, "optim": OPTIM})
    assert paths(space) == ["optim", "optim.momentum", "optim.nesterov"]
    points = drawn(space)
    assert {tuple(point) for point in points if point["optim"] == "adamw"} == {("optim",)}
    assert {tuple(point) for point in points if point["optim"] == "sgd"} == {tuple(paths(space))}


def test_a_condition_on_what_does_not_matter_does_not_hold() -> None:
    space = space_of(
        {
            "optim": OPTIM,
            "optim.nesterov": NESTEROV,
            "optim.momentum": {"uniform": [0.5, 0.9], "when": {"optim.nesterov": [True]}},
        }
    )
    for point in drawn(space):
        assert ("optim.momentum" in point) == (point.get("optim.nesterov") is True)


def test_a_condition_on_a_switch_is_one_on_a_switch() -> None:
    space = space_of(
        {
            "loop.compile": {"choice": [True, False]},
            "loop.accumulate": {"int": [1, 4], "when": {"loop.compile": False}},
        }
    )
    for point in drawn(space):
        assert ("loop.accumulate" in point) == (point["loop.compile"] is False)


def test_a_grid_is_every_combination_and_no_other() -> None:
    space = space_of(
        {
            "optim": OPTIM,
            "optim.nesterov": NESTEROV,
            "model.depth": {"int": [2, 6, 2]},
            "model.dropout": {"quniform": [0, 0.2, 0.1], "when": {"model.norm": "none"}},
            "model.norm": {"choice": ["batch", "none"]},
        }
    )
    optims: list[dict[str, Any]] = [
        {"optim": "adamw"},
        {"optim": "sgd", "optim.nesterov": True},
        {"optim": "sgd", "optim.nesterov": False},
    ]
    norms: list[dict[str, Any]] = [
        {"model.norm": "batch"},
        *({"model.norm": "none", "model.dropout": dropout} for dropout in (0.0, 0.1, 0.2)),
    ]
    expected = [
        {**optim, "model.depth": depth, **norm}
        for optim in optims
        for depth in (2, 4, 6)
        for norm in norms
    ]
    points = space.grid()
    assert len(points) == len(expected) == 36
    assert all(point in expected for point in points)
    assert all(point in points for point in expected)


@pytest.mark.parametrize(
    "description", [{"uniform": [0, 1]}, {"loguniform": [1, 2]}, {"logint": [1, 8]}]
)
def test_a_grid_of_a_range_without_steps_is_refused(description: dict[str, Any]) -> None:
    space = space_of({"optim.lr": description})
    with pytest.raises(ConfigError, match=r"tuning\.space\.optim\.lr: a grid needs choices"):
        space.grid()


@pytest.mark.parametrize(
    "choices",
    [
        [[128, 64], [64]],
        [{"_target_": "torch.nn.ReLU"}, {"_target_": "torch.nn.Mish", "inplace": True}, None],
        [[], [[1, 2], "a"]],
        ["[cls]", "{mask}", "[1]"],
        [1, "1", 1.5, None, False],
    ],
)
def test_a_choice_comes_back_as_it_was_described(choices: list[Any]) -> None:
    space = space_of({"model.part": {"choice": choices}})
    assert [point["model.part"] for point in space.samples()] == choices
    assert [point["model.part"] for point in space.grid()] == choices
    for point in drawn(space, 20):
        assert any(
            point["model.part"] == choice and type(point["model.part"]) is type(choice)
            for choice in choices
        )
    for choice in choices:
        assert space.checked({"model.part": choice}, "tuning.enqueue[0]") == {"model.part": choice}


def test_samples_hold_every_end_together_with_what_it_depends_on() -> None:
    space = space_of(
        {
            "optim": OPTIM,
            "optim.nesterov": NESTEROV,
            "optim.momentum": {"uniform": [0.5, 0.9], "when": {"optim.nesterov": True}},
            "optim.lr": {"loguniform": [1e-4, 1e-2]},
        }
    )
    assert list(space.samples()) == [
        {"optim": "adamw"},
        {"optim": "sgd"},
        {"optim.lr": 1e-4},
        {"optim.lr": 1e-2},
        {"optim": "sgd", "optim.nesterov": True},
        {"optim": "sgd", "optim.nesterov": False},
        {"optim": "sgd", "optim.nesterov": True, "optim.momentum": 0.5},
        {"optim": "sgd", "optim.nesterov": True, "optim.momentum": 0.9},
    ]


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"optim.rl": 0.1}, "'optim.rl' is not in tuning.space; did you mean 'optim.lr'?"),
        ({"seed": 1}, "'seed' is not in tuning.space"),
        ({"optim.lr": 0.5}, "optim.lr=0.5 is outside of tuning.space: FloatDistribution"),
        ({"optim.lr": None}, "optim.lr=None is outside"),
        ({"optim.lr": "high"}, "optim.lr='high' is outside"),
        ({"optim.lr": True}, "optim.lr=True is outside"),
        ({"optim": "adam"}, "optim='adam' is outside"),
        ({"model.depth": 5}, "model.depth=5 is outside"),
        ({"model.depth": 4.5}, "model.depth=4.5 is outside"),
        ({"model.width": 12.5}, "model.width=12.5 is outside"),
    ],
)
def test_a_point_outside_of_the_space_is_refused(point: dict[str, Any], said: str) -> None:
    space = space_of(
        {
            "optim": OPTIM,
            "optim.lr": {"loguniform": [0.01, 0.1]},
            "model.depth": {"int": [2, 6, 2]},
            "model.width": {"logint": [8, 64]},
        }
    )
    inside = {"optim.lr": 0.1, "model.depth": 6}
    assert space.checked(inside, "tuning.enqueue[1]") == inside
    with pytest.raises(ConfigError) as refused:
        space.checked({**inside, **point}, "tuning.enqueue[1]")
    assert str(refused.value).startswith(f"tuning.enqueue[1]: {said}")
