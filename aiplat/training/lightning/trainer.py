"""What a module sees as `self.trainer`: where the run stands, and nothing that could steer it."""

from types import SimpleNamespace
from typing import Any

from torch.optim import Optimizer

from aiplat.errors import ConfigError
from aiplat.training.collective import num_ranks
from aiplat.training.recipe import Recipe
from aiplat.training.snapshot import Position


class AbsentError(ConfigError, AttributeError):
    """A module asked for a part of Lightning's Trainer that there is none of here."""


class TrainerView:
    """Reads the run's own position, so it is never behind. stage: what is going on, or empty."""

    logger = None
    loggers: tuple[Any, ...] = ()
    datamodule = None
    progress_bar_callback = None
    sanity_checking = False
    barebones = False
    local_rank = 0

    def __init__(self, position: Position, recipe: Recipe, rank: int) -> None:
        self._position = position
        self._recipe = recipe
        self.global_rank = rank
        self.is_global_zero = rank == 0
        self.world_size = num_ranks()
        self.stage = ""
        self.callback_metrics: dict[str, float] = {}
        self.optimizers: list[Optimizer] = []
        self.lr_scheduler_configs: list[Any] = []
        # Where `LightningModule.optimizers` looks.
        self.strategy = SimpleNamespace(_lightning_optimizers=self.optimizers)

    @property
    def current_epoch(self) -> int:
        """The first is 0, as Lightning counts."""
        return self._position.epoch - 1

    @property
    def global_step(self) -> int:
        """Optimizer steps done."""
        return self._position.step

    @property
    def estimated_stepping_batches(self) -> int:
        """Optimizer steps of the whole run."""
        return self._position.total_steps

    @property
    def num_training_batches(self) -> int:
        """Calls of training_step in an epoch."""
        return self._recipe.steps_per_epoch(self._position.num_rows) * self.accumulate_grad_batches

    @property
    def accumulate_grad_batches(self) -> int:
        """Calls of training_step for an optimizer step."""
        return self._recipe.loop.accumulate

    @property
    def max_epochs(self) -> int:
        """Epochs of the run."""
        return self._recipe.loop.max_epochs

    @property
    def max_steps(self) -> int:
        """Optimizer steps at most; -1 for no limit, as in Lightning."""
        return -1 if self._recipe.loop.max_steps is None else self._recipe.loop.max_steps

    @property
    def first_batch(self) -> int:
        """How many calls of training_step this epoch has behind it."""
        steps = self._recipe.steps_per_epoch(self._position.num_rows)
        return (self.global_step - self.current_epoch * steps) * self.accumulate_grad_batches

    @property
    def training(self) -> bool:
        """Whether training steps are being taken."""
        return self.stage == "train"

    @property
    def validating(self) -> bool:
        """Whether the validation split is being measured."""
        return self.stage == "val"

    @property
    def testing(self) -> bool:
        """Whether the test split is being measured."""
        return self.stage == "test"

    def __getattr__(self, name: str) -> Any:
        offered = ", ".join(sorted(part for part in dir(self) if not part.startswith("_")))
        raise AbsentError(
            f"self.trainer.{name}: there is no Trainer of Lightning's here, and what stands for it "
            f"has only: {offered}"
        )
