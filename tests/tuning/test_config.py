"""What a user may say of a search."""

from typing import Any

import pytest

from aiplat.config.compose import compose
from aiplat.errors import ConfigError
from aiplat.jobs.schema import TrainConfig
from aiplat.tuning.config import TuningConfig


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"num_trials": 0}, "num_trials is 0, expected at least 1"),
        ({"min_epochs": 0}, "min_epochs is 0, expected at least 1"),
        ({"reduction_factor": 1}, "reduction_factor is 1, expected at least 2"),
        ({"warm_start_trials": 0}, "warm_start_trials is 0, expected at least 1"),
        ({"max_lost": -1}, "max_lost is -1, expected at least 0"),
        ({"max_concurrent": 0}, "max_concurrent is 0, expected auto or 1 or more"),
        ({"max_seconds": 0.0}, "max_seconds is 0.0, expected more than 0"),
        ({"keep": 0}, "keep is 0, expected null or at least 1"),
        ({"objectives": []}, "expected 'metric' first, and each at most once"),
        ({"objectives": ["latency_ms"]}, "objectives is ['latency_ms'], expected 'metric'"),
        ({"objectives": ["metric", "metric"]}, "and each at most once"),
    ],
)
def test_a_choice_that_makes_no_sense_is_shown(chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        TuningConfig(**chosen)
    assert said in str(refused.value)


@pytest.mark.parametrize("sampler", ["gp", "cmaes"])
def test_a_sampler_of_one_objective_is_refused_for_several(sampler: Any) -> None:
    with pytest.raises(ConfigError, match="with several expected one of: tpe, nsga2, random, grid"):
        TuningConfig(sampler=sampler, objectives=["metric", "latency_ms"])
    assert not TuningConfig(sampler=sampler).is_multi_objective


def test_patience_with_one_objective_is_refused_for_several() -> None:
    with pytest.raises(ConfigError, match="patience judges one objective"):
        TuningConfig(patience=3, objectives=["metric", "num_parameters"])


@pytest.mark.parametrize(("given", "expected"), [("auto", None), ("3", 3)])
def test_the_command_line_says_how_many_trials_run_side_by_side(given: str, expected: Any) -> None:
    config = compose("tune", TrainConfig, ["+exp=clip", f"tuning.max_concurrent={given}"])
    assert config.tuning.concurrent == expected


@pytest.mark.parametrize(("max_epochs", "expected"), [(50, 10), (9, 1), (3, 1)])
def test_a_trial_is_let_go_on_for_a_fifth_of_its_epochs(max_epochs: int, expected: int) -> None:
    assert TuningConfig().for_epochs(max_epochs).min_epochs == expected
    assert TuningConfig(min_epochs=4).for_epochs(max_epochs).min_epochs == 4


def test_the_command_line_adds_to_the_space_of_an_experiment() -> None:
    space = compose(
        "tune",
        TrainConfig,
        [
            "+exp=digits_mlp",
            "tuning.space.optim.lr.loguniform=[1e-3,1e-2]",
            "tuning.space.model.widths.choice=[[64],[64,32]]",
        ],
    ).tuning.space
    assert space["optim"] == {"lr": {"loguniform": [0.001, 0.01]}}
    assert space["model"] == {"widths": {"choice": [[64], [64, 32]]}}
    assert space["dataset.batch_size"] == {"choice": [32, 64, 128]}
