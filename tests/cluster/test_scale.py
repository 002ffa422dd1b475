"""What may be said about the workers of a run, before any cluster is asked."""

from typing import Any

import pytest

from aiplat.cluster.scale import ScaleConfig
from aiplat.config.compose import compose
from aiplat.errors import ConfigError
from aiplat.jobs.schema import TrainConfig


@pytest.mark.parametrize("num_workers", [[1], [0, 2], [3, 2], [1, 2, 3], 0, -1])
def test_a_number_of_workers_that_makes_no_sense_is_shown(num_workers: Any) -> None:
    with pytest.raises(ConfigError, match="num_workers is"):
        ScaleConfig(num_workers=num_workers)


@pytest.mark.parametrize(
    ("given", "expected"), [("2", 2), ("auto", "auto"), ("[1,4]", [1, 4]), ("[2,2]", [2, 2])]
)
def test_the_command_line_takes_a_number_a_range_or_auto(given: str, expected: Any) -> None:
    config = compose("train", TrainConfig, ["+exp=clip", f"scale.num_workers={given}"])
    assert config.scale.num_workers == expected


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_a_share_of_a_gpu_that_makes_no_sense_is_shown(share: float) -> None:
    with pytest.raises(ConfigError, match=r"gpus_per_worker is .* more than 0 and at most 1"):
        ScaleConfig(gpus_per_worker=share)


@pytest.mark.parametrize("num_workers", [2, [1, 2], [1, 1]])
def test_workers_of_one_run_share_no_gpu(num_workers: Any) -> None:
    with pytest.raises(ConfigError, match="workers of one run cannot share a GPU"):
        ScaleConfig(num_workers=num_workers, gpus_per_worker=0.5)
    assert ScaleConfig(num_workers=num_workers).gpus_per_worker == 1.0


@pytest.mark.parametrize("num_workers", [1, "auto"])
def test_a_trial_of_one_worker_may_have_a_share_of_a_gpu(num_workers: Any) -> None:
    assert ScaleConfig(num_workers=num_workers, gpus_per_worker=0.25).gpus_per_worker == 0.25
