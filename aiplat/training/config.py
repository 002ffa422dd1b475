"""What a user chooses about a training run: the loop, its checkpoints and the data it reads."""

from dataclasses import dataclass
from typing import Literal

from aiplat.errors import ConfigError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass
class LoopConfig:
    """How long and in what arithmetic to train.

    max_steps: optimizer steps at most, over all epochs; null: as many as the epochs hold.
    accumulate: micro-batches that each worker cuts its share of a batch into. The gradient stays
        that of the whole batch; memory goes down.
    precision: `auto` is bf16 where the device is quick at it, else fp32.
    clip_norm: the gradient's norm at most; null: as it comes.
    ema_decay: average the weights over the steps with this decay (0.999, say) and evaluate and
        export the average; null: no average.
    early_stop_epochs: evaluated epochs without a better validation metric before training stops.
    """

    max_epochs: int = 10
    max_steps: int | None = None
    accumulate: int = 1
    precision: str = "auto"
    clip_norm: float | None = None
    ema_decay: float | None = None
    channels_last: bool = False
    compile: bool = False
    augment: bool = True
    early_stop_epochs: int | None = None
    eval_every_epochs: int = 1
    log_every_steps: int = 10

    def __post_init__(self) -> None:
        for name in ("max_epochs", "max_steps", "accumulate", "early_stop_epochs"):
            _require_at_least(name, getattr(self, name), 1)
        _require_at_least("eval_every_epochs", self.eval_every_epochs, 1)
        _require_at_least("log_every_steps", self.log_every_steps, 1)
        if self.precision not in PRECISIONS:
            choices = ", ".join(PRECISIONS)
            raise ConfigError(f"precision is {self.precision!r}, expected one of {choices}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ConfigError(f"clip_norm is {self.clip_norm}, expected more than 0, or null")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ConfigError(
                f"ema_decay is {self.ema_decay}, expected a number between 0 and 1, or null"
            )


@dataclass
class CheckpointConfig:
    """When to save within an epoch; the end of an epoch is always saved.

    every_s: seconds of training that a crash may cost.
    every_steps: also after every so many optimizer steps.
    keep_best: checkpoints to keep for their validation metric, besides the last two.
    """

    every_s: float = 60.0
    every_steps: int | None = None
    keep_best: int = 1

    def __post_init__(self) -> None:
        if self.every_s <= 0:
            raise ConfigError(f"every_s is {self.every_s}, expected more than 0")
        _require_at_least("every_steps", self.every_steps, 1)
        # The best weights are what a run hands over at its end.
        _require_at_least("keep_best", self.keep_best, 1)


@dataclass
class DatasetConfig:
    """Which dataset version to train on, and how its rows are dealt.

    batch_size: rows of one optimizer step, over all workers and micro-batches; `auto`: the most
        that fits the workers the run begins with, tried once for a model and kind of device.
    """

    name: str
    version: str = "latest"
    batch_size: int | Literal["auto"] = 256
    shuffle: bool = True

    def __post_init__(self) -> None:
        if self.batch_size != "auto":
            _require_at_least("batch_size", self.batch_size, 1)


def _require_at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ConfigError(f"{name} is {value}, expected at least {least}")
