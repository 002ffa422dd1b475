import pytest

from aiplat.errors import ConfigError
from aiplat.training.config import CheckpointConfig, DatasetConfig, LoopConfig


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_epochs", 0),
        ("max_steps", 0),
        ("accumulate", 0),
        ("precision", "fp8"),
        ("clip_norm", 0.0),
        ("ema_decay", 1.0),
        ("early_stop_epochs", 0),
        ("eval_every_epochs", 0),
        ("log_every_steps", 0),
    ],
)
def test_the_loop_refuses_what_cannot_be_and_names_key_and_value(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{key} is {value!r}"):
        LoopConfig(**{key: value})  # type: ignore[arg-type]


def test_checkpoints_and_dataset_refuse_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match="max_lost_s is 0"):
        CheckpointConfig(max_lost_s=0)
    with pytest.raises(ConfigError, match="keep_best is 0"):
        CheckpointConfig(keep_best=0)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        DatasetConfig(name="photos", batch_size=0)
