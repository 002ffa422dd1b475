"""What a task may take part in besides its loss: the beginning and end of epochs, its optimizer.

Most tasks take part in nothing; a module that brings its own training code does.
"""

import io
import pickle
from typing import Any

import torch
from torch.optim import Optimizer

from aiplat.errors import ConfigError
from aiplat.tasks.task import Task
from aiplat.training.optim import Schedule
from aiplat.training.recipe import Recipe
from aiplat.training.snapshot import Position


class Hooks:
    """Called by the loop on every rank; what a subclass leaves out does nothing."""

    def begin(self, position: Position, recipe: Recipe, rank: int, device: torch.device) -> None:
        """A run or a further attempt at it begins; `position` will always say where it stands."""

    def notes(self) -> list[str]:
        """What the person who watches should know of how the task is treated."""
        return []

    def optimizer(self) -> tuple[Optimizer, Schedule | None] | None:
        """The task's own optimizer and, if it has one, schedule; None: those of the recipe."""
        return None

    def begin_epoch(self) -> None:
        """The steps of an epoch, or of what is left of it, begin."""

    def end_epoch(self, metrics: dict[str, float]) -> dict[str, float]:  # noqa: ARG002
        """An epoch was trained and measured; the answer is what else to log of its training."""
        return {}

    def begin_split(self, split: str) -> None:
        """A split is about to be measured."""

    def end_split(self, split: str) -> dict[str, float]:  # noqa: ARG002
        """The split was measured; the answer is further metrics of it, the same on every rank."""
        return {}

    def end(self) -> None:
        """The run is done; the model holds its best weights."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the weights; asked of rank 0 only."""
        return {}

    def check_state(self) -> None:
        """Raise ConfigError where `state_dict` gives what a checkpoint cannot hold."""
        stream = io.BytesIO()
        try:
            torch.save(self.state_dict(), stream)
            stream.seek(0)
            torch.load(stream, weights_only=True)
        except (AttributeError, TypeError, pickle.PickleError) as error:
            raise ConfigError(
                "model: what on_save_checkpoint adds cannot be read back from a checkpoint, which "
                f"holds tensors, numbers, texts, lists and dicts only: {error}"
            ) from error

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""


def hooks_of(task: Task) -> Hooks:
    """The task itself where it takes part, else what does nothing."""
    return task if isinstance(task, Hooks) else Hooks()


def build_optimizer(
    task: Task, recipe: Recipe, total_steps: int
) -> tuple[Optimizer, Schedule | None]:
    """The task's own optimizer, or the recipe's; the schedule likewise. Raises ConfigError."""
    own = hooks_of(task).optimizer()
    if own is None:
        if recipe.make_optimizer is None:
            raise ConfigError(
                "optim is null, and the model brings no optimizer of its own: set optim=adamw, say"
            )
        optimizer, schedule = recipe.make_optimizer(task.model), None
    else:
        if recipe.make_optimizer is not None:
            raise ConfigError(
                "both optim and the model's configure_optimizers make an optimizer: set optim=null "
                "to take the model's"
            )
        optimizer, schedule = own
    if recipe.make_schedule is None:
        return optimizer, schedule
    if schedule is not None:
        raise ConfigError(
            "both schedule and the model's configure_optimizers make a learning rate schedule: "
            "set schedule=null to take the model's"
        )
    return optimizer, recipe.make_schedule(optimizer, total_steps)
