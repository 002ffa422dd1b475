"""A model and all that changes it in training: loss, optimizer, schedule, precision, average."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from aiplat.datasets.versions import ROW_ID
from aiplat.errors import ConfigError
from aiplat.tasks.task import Batch, Task
from aiplat.training.averages import Averages
from aiplat.training.blocks import recompute_activations, without_statistics
from aiplat.training.collective import compress_gradients, gather_rows
from aiplat.training.config import LoopConfig
from aiplat.training.guard import Guard, gradient_norm
from aiplat.training.hooks import Hooks, build_optimizer, hooks_of
from aiplat.training.optim import Schedule
from aiplat.training.precision import Precision, choose_precision
from aiplat.training.recipe import Recipe
from aiplat.training.sharding import Sharding, check_scaled, distributed_like, whole
from aiplat.training.shards import ShardedState, uncut
from aiplat.training.snapshot import Shards
from aiplat.training.worker import Worker, is_sharded, reading


class TaskLoss(nn.Module):
    """A task's loss as a module: what wraps it (DDP) then sees all that the model computes.

    stand_in: rows for a rank without any, where ranks have to compute in step.
    """

    def __init__(self, task: Task, stand_in: Callable[[], Batch] | None = None) -> None:
        super().__init__()
        self.model = task.model
        self.task_loss = task.loss
        self.stand_in = stand_in

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The task's loss and what else to log; a loss of zero for a batch without rows."""
        if not len(batch[ROW_ID]):
            return self._zero(), {}
        return self.task_loss(batch)

    def _zero(self) -> Tensor:
        if self.stand_in is not None:
            with without_statistics(self.model):
                return self.task_loss(self.stand_in())[0] * 0.0
        # The other ranks wait for a gradient of every parameter.
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return torch.stack([parameter.sum() for parameter in trained]).sum() * 0.0


@dataclass
class Learner:
    """What a step works with.

    loss: the task's loss, wrapped so that ranks share its gradients. hooks: of the task. sharding:
    None where every rank has the whole model. shards: what ranks hold parts of, then; that state is
    in neither `state_dict` nor a snapshot. guard: keeps out what is not finite, where that is
    wanted. measures_norm: the gradient's norm is wanted although nothing is clipped. phase: what a
    step tells the names of its phases to (see `Profile`).
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
    sharding: Sharding | None = None
    shards: Shards | None = None
    guard: Guard | None = None
    measures_norm: bool = False
    phase: Callable[[str], AbstractContextManager[Any]] = nullcontext

    def begin_step(self) -> None:
        """Call before the first forward pass of a step."""
        if self.guard is not None:
            self.guard.remember()

    def syncing(self, now: bool) -> AbstractContextManager[Any]:
        """Whether the backward pass within averages the gradients over the ranks."""
        if self.sharding is not None:
            self.loss.set_requires_gradient_sync(now)  # type: ignore[operator]
        if self.sharding is not None or now or self.world_size == 1:
            return nullcontext()
        return self.loss.no_sync()  # type: ignore[operator]

    def update(self) -> Tensor | None:
        """Use up the gradients; the answer is their norm where somebody wants to know it."""
        norm = None
        if self.sharding is not None:
            self.sharding.average_scalars()
        if self.clip_norm is not None or self.measures_norm:
            self.precision.unscale(self.optimizer)
            norm = self._clipped()
        permitted = self.guard is None or norm is None or self.guard.permits(norm)
        # The scaler must step in any case: it looks for what is not finite by itself.
        permitted = permitted or self.precision.scaler is not None
        updated = permitted and self.precision.step(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        if updated and self.schedule is not None:
            self.schedule.step()
        if updated and self.averages is not None:
            self.averages.update()
        return norm

    def _clipped(self) -> Tensor:
        if self.clip_norm is None:
            return whole(gradient_norm(self.model))
        return whole(clip_grad_norm_(self.model.parameters(), self.clip_norm))

    def evaluated(self) -> AbstractContextManager[None]:
        """The task's model has the weights to evaluate and export until the block ends."""
        if self.sharding is not None:
            return self.sharding.filled(self.averages.by_name if self.averages else None)
        return nullcontext() if self.averages is None else self.averages.applied()

    def hand_over(self, weights: Mapping[str, Tensor]) -> None:
        """Leave the task's model with these weights: the training is over."""
        if self.sharding is None:
            self.model.load_state_dict(weights)
        else:
            self.sharding.hand_over(weights)

    def state_dict(self) -> dict[str, Any]:
        """All but the model's weights and what ranks have parts of."""
        parts = self._stateful()
        return uncut({name: part.state_dict() for name, part in parts.items() if part is not None})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; what has no saved state starts anew."""
        if self.sharding is not None:
            state = distributed_like(state, self.optimizer)
        for name, part in self._stateful().items():
            if part is not None and name in state:
                part.load_state_dict(state[name])

    def inherit(self, state: Mapping[str, Any]) -> None:
        """Begin with what another run's optimizer knows of each weight, its settings left out."""
        own = self.optimizer.state_dict()
        known = {"state": state["optimizer"]["state"], "param_groups": own["param_groups"]}
        self.optimizer.load_state_dict(known)
        for name in ("scaler", "averages"):
            part = self._stateful()[name]
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
    precision = choose_precision(loop.precision, worker.device)
    if is_sharded(worker) and isinstance(task, Hooks):
        raise ConfigError(
            "scale.strategy is fsdp, which cannot cut a model that brings its own training code "
            "(a LightningModule); set scale.strategy=ddp"
        )
    sharding = Sharding(task, worker.device) if is_sharded(worker) else None
    trained = sharding.trained if sharding else task
    _settle(trained.model, loop)
    if sharding:
        loss = sharding.shard(TaskLoss(trained, _stand_in(worker)), precision)
    else:
        loss = worker.prepare(TaskLoss(trained))
        if loop.compress_gradients:
            compress_gradients(loss)
    optimizer, schedule = build_optimizer(trained, recipe, total_steps)
    averages = Averages(trained.model, loop.ema_decay) if loop.ema_decay else None
    if sharding and precision.scaler is not None:
        check_scaled(optimizer)
    return Learner(
        model=trained.model,
        loss=loss,
        optimizer=optimizer,
        schedule=schedule,
        precision=precision,
        averages=averages,
        clip_norm=loop.clip_norm,
        device=worker.device,
        world_size=worker.world_size,
        hooks=hooks_of(task),
        sharding=sharding,
        shards=ShardedState(trained.model, optimizer, averages) if sharding else None,
        guard=Guard(trained.model, optimizer) if loop.on_nan == "skip" else None,
        measures_norm=loop.on_nan != "fail",
    )


def _settle(model: nn.Module, loop: LoopConfig) -> None:
    """What is done to a model before it is wrapped; the names of its weights stay as they are."""
    if loop.channels_last:
        model.to(memory_format=torch.channels_last)
    if loop.activation_checkpointing:
        recompute_activations(model)
    if loop.compile:
        model.compile()


def _stand_in(worker: Worker) -> Callable[[], Batch]:
    """A row of the training split, twice: batch norm refuses a single one."""

    @cache
    def rows() -> Batch:
        with reading(worker, "train", [np.zeros(2, dtype=np.int64)], augment=False) as batches:
            return next(batches)

    return rows
