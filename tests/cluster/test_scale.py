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
