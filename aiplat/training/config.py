"""What a user chooses about a training run: the loop, its checkpoints and the data it reads."""

from dataclasses import dataclass
from typing import Literal

from aiplat.errors import ConfigError

PROFILED_STEPS = 20
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
OOM_ANSWERS = ("split", "fail")
NAN_ANSWERS = ("fail", "skip", "rollback")


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
    activation_checkpointing: compute the inside of each block (a transformer's layer, say) again in
        the backward pass in place of keeping it: a third more computation, far less memory.
    compress_gradients: workers exchange gradients in bf16, half the bytes, for where the network
        between them is what holds up a step.
    profile: true, or a number of steps: time the phases of so many steps (20) after the first few,
        trace three more, and put both into the run's folder `profile`.
    early_stop_epochs: evaluated epochs without a better validation metric before training stops.
    oom: what to do when a micro-batch does not fit into memory: `split` halves it and doubles
        their number, so that the batch and its gradient stay the same; `fail` ends the run.
    on_nan: what to do when the loss becomes NaN or infinite: `fail` ends the run; `skip` leaves
        that update out and goes on; `rollback` goes back to the last checkpoint and leaves the
        batch out when it comes again. Its rows are written down in the run's folder.
    stall_s: seconds without any progress after which the stacks of all workers are written to the
        run's logs and the workers are started anew; null: never.
    """

    max_epochs: int = 10
    max_steps: int | None = None
    accumulate: int = 1
    precision: str = "auto"
    clip_norm: float | None = None
    ema_decay: float | None = None
    channels_last: bool = False
    compile: bool = False
    activation_checkpointing: bool = False
    augment: bool = True
    early_stop_epochs: int | None = None
    eval_every_epochs: int = 1
    log_every_steps: int = 10
    oom: str = "split"
    on_nan: str = "fail"
    stall_s: float | None = 600.0
    compress_gradients: bool = False
    profile: bool | int = False

    def __post_init__(self) -> None:
        for name in ("max_epochs", "max_steps", "accumulate", "early_stop_epochs"):
            _require_at_least(name, getattr(self, name), 1)
        _require_at_least("eval_every_epochs", self.eval_every_epochs, 1)
        _require_at_least("log_every_steps", self.log_every_steps, 1)
        _require_at_least("profile", int(self.profile), 0)
        _require_one_of("precision", self.precision, PRECISIONS)
        _require_one_of("oom", self.oom, OOM_ANSWERS)
        _require_one_of("on_nan", self.on_nan, NAN_ANSWERS)
        if self.stall_s is not None and self.stall_s <= 0:
            raise ConfigError(f"stall_s is {self.stall_s}, expected more than 0, or null")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ConfigError(f"clip_norm is {self.clip_norm}, expected more than 0, or null")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ConfigError(
                f"ema_decay is {self.ema_decay}, expected a number between 0 and 1, or null"
            )

    @property
    def profiled_steps(self) -> int:
        """Steps to time the phases of; 0: do not profile."""
        return PROFILED_STEPS if self.profile is True else int(self.profile)


@dataclass
class CheckpointConfig:
    """When to save. The ends of epochs are saved, unless they come quickly one after another.

    min_epoch_s: an epoch that ends sooner than this after the last save is kept in memory, and
        saved with the next one if it is the best by then; 0: each is saved.
    max_lost_s: seconds of training that a crash may cost. Saves come as seldom as this allows, or
        oftener where they cost less than a hundredth of the time, by how long they really take.
    every_steps: also after every so many optimizer steps.
    keep_best: checkpoints to keep for their validation metric, besides the last two.
    """

    max_lost_s: float = 60.0
    min_epoch_s: float = 0.0
    every_steps: int | None = None
    keep_best: int = 1

    def __post_init__(self) -> None:
        if self.max_lost_s <= 0:
            raise ConfigError(f"max_lost_s is {self.max_lost_s}, expected more than 0")
        if not 0 <= self.min_epoch_s <= self.max_lost_s:
            raise ConfigError(
                f"min_epoch_s is {self.min_epoch_s}, expected 0 to max_lost_s={self.max_lost_s}"
            )
        _require_at_least("every_steps", self.every_steps, 1)
        # The best weights are what a run hands over at its end.
        _require_at_least("keep_best", self.keep_best, 1)


@dataclass
class DatasetConfig:
    """Which dataset version to train on, and how its rows are dealt.

    batch_size: rows of one optimizer step, over all workers and micro-batches; `auto`: the most
        that fits the workers the run begins with, tried once for a model and kind of device.
    cache_bytes: memory that each worker may fill with decoded images, so that an image which is
        not augmented is decoded once; 0: decode it every time.
    """

    name: str
    version: str = "latest"
    batch_size: int | Literal["auto"] = 256
    shuffle: bool = True
    cache_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        if self.batch_size != "auto":
            _require_at_least("batch_size", self.batch_size, 1)
        _require_at_least("cache_bytes", self.cache_bytes, 0)


def _require_one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}, expected one of {', '.join(choices)}")


def _require_at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ConfigError(f"{name} is {value}, expected at least {least}")
