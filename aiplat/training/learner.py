"""A model and all that changes it in training: loss, optimizer, schedule, precision, average."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from aiplat.datasets.versions import ROW_ID
from aiplat.tasks.task import Batch, Task
from aiplat.training.averages import Averages
from aiplat.training.collective import gather_rows
from aiplat.training.hooks import Hooks, build_optimizer, hooks_of
from aiplat.training.optim import Schedule
from aiplat.training.precision import Precision, choose_precision
from aiplat.training.recipe import Recipe
from aiplat.training.worker import Worker


class TaskLoss(nn.Module):
    """A task's loss as a module: what wraps it (DDP) then sees all that the model computes."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.model = task.model
        self.task_loss = task.loss

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The task's loss and what else to log; a loss of zero for a batch without rows."""
        if not len(batch[ROW_ID]):
            return self._zero(), {}
        return self.task_loss(batch)

    def _zero(self) -> Tensor:
        # The other ranks wait for a gradient of every parameter.
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return torch.stack([parameter.sum() for parameter in trained]).sum() * 0.0


@dataclass
class Learner:
    """What a step works with.

    loss: the task's loss as the worker wrapped it. hooks: of the task.
    """

    model: nn.Module
    loss: nn.Module
    optimizer: Optimizer
    schedule: Schedule | None
    precision: Precision
    averages: Averages | None
    clip_norm: float | None
    device: torch.device
    world_size: int
    hooks: Hooks

    def syncing(self, now: bool) -> AbstractContextManager[Any]:
        """Whether the backward pass within averages the gradients over the ranks."""
        if now or self.world_size == 1:
            return nullcontext()
        return self.loss.no_sync()  # type: ignore[operator]

    def update(self) -> Tensor | None:
        """Use up the gradients; the answer is their norm where they are clipped."""
        norm = None
        if self.clip_norm is not None:
            self.precision.unscale(self.optimizer)
            norm = clip_grad_norm_(self.model.parameters(), self.clip_norm)
        updated = self.precision.step(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        if updated and self.schedule is not None:
            self.schedule.step()
        if updated and self.averages is not None:
            self.averages.update()
        return norm

    def evaluated(self) -> AbstractContextManager[None]:
        """The model computes with the weights to evaluate and export until the block ends."""
        return nullcontext() if self.averages is None else self.averages.applied()

    def state_dict(self) -> dict[str, Any]:
        """All but the model's weights."""
        parts = self._stateful()
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; what has no saved state starts anew."""
        for name, part in self._stateful().items():
            if part is not None and name in state:
                part.load_state_dict(state[name])

    def _stateful(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.precision.scaler,
            "averages": self.averages,
            "hooks": self.hooks,
        }


def make_learner(task: Task, worker: Worker, recipe: Recipe, total_steps: int) -> Learner:
    """Put the task's model on the worker's device and build what trains it."""
    loop = recipe.loop
    if worker.world_size > 1 and hasattr(task, "gather"):
        task.gather = gather_rows
    if loop.channels_last:
        task.model.to(memory_format=torch.channels_last)
    if loop.compile:
        # In place, so that the names of the weights stay as they are.
        task.model.compile()
    loss = worker.prepare(TaskLoss(task))
    optimizer, schedule = build_optimizer(task, recipe, total_steps)
    return Learner(
        model=task.model,
        loss=loss,
        optimizer=optimizer,
        schedule=schedule,
        precision=choose_precision(loop.precision, worker.device),
        averages=Averages(task.model, loop.ema_decay) if loop.ema_decay else None,
        clip_norm=loop.clip_norm,
        device=worker.device,
        world_size=worker.world_size,
        hooks=hooks_of(task),
    )
