"""Optimizers and learning rate schedules of torch, in the shapes that configurations name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
)

from aiplat.config import targets
from aiplat.errors import ConfigError


class Schedule(Protocol):
    """What moves the learning rate: told of every step."""

    def step(self) -> None:
        """An optimizer step was done."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue a schedule."""
        ...


MakeOptimizer = Callable[[nn.Module], Optimizer]
MakeSchedule = Callable[[Optimizer, int], LRScheduler]

# How far below its peak a learning rate begins to rise.
_WARMUP_DIVISOR = 25.0


def optimizer_from(node: Mapping[str, Any]) -> MakeOptimizer:
    """What makes the optimizer of a configuration node, in whichever process has the model."""
    return partial(_build_optimizer, node)


def schedule_from(node: Mapping[str, Any]) -> MakeSchedule:
    """What makes the learning rate schedule of a configuration node."""
    return partial(_build_schedule, node)


def parameter_groups(
    model: nn.Module, decay_norms_and_biases: bool = False
) -> list[dict[str, Any]]:
    """The trained parameters for an optimizer; frozen ones are left out.

    Unless told otherwise, weight decay spares biases and normalisation weights (all vectors and
    scalars): pulling those to zero costs accuracy. Raises ConfigError where nothing is trained.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ConfigError("every parameter of the model is frozen: there is nothing to train")
    if decay_norms_and_biases:
        return [{"params": trained}]
    decayed = [parameter for parameter in trained if parameter.ndim > 1]
    spared = [parameter for parameter in trained if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = []
    if decayed:
        groups.append({"params": decayed})
    if spared:
        groups.append({"params": spared, "weight_decay": 0.0})
    return groups


def constant(optimizer: Optimizer, total_steps: int, warmup_fraction: float = 0.0) -> LRScheduler:
    """The optimizer's own learning rate, after a linear rise over the first steps."""
    warmup_steps = _warmup_steps(total_steps, warmup_fraction)
    if not warmup_steps:
        return ConstantLR(optimizer, factor=1.0, total_iters=0)
    return LinearLR(optimizer, start_factor=1 / _WARMUP_DIVISOR, total_iters=warmup_steps)


def warmup_cosine(
    optimizer: Optimizer,
    total_steps: int,
    warmup_fraction: float = 0.05,
    final_fraction: float = 0.0,
) -> LRScheduler:
    """A linear rise to the optimizer's learning rate, then a cosine down to a fraction of it."""
    warmup_steps = _warmup_steps(total_steps, warmup_fraction)
    lowest = final_fraction * min(group["lr"] for group in optimizer.param_groups)
    fall_steps = max(1, total_steps - warmup_steps)
    fall = CosineAnnealingLR(optimizer, T_max=fall_steps, eta_min=lowest)
    if not warmup_steps:
        return fall
    rise = LinearLR(optimizer, start_factor=1 / _WARMUP_DIVISOR, total_iters=warmup_steps)
    return SequentialLR(optimizer, [rise, fall], milestones=[warmup_steps])


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    warmup_fraction: float = 0.3,
    final_fraction: float = 1e-5,
) -> LRScheduler:
    """Up to the optimizer's learning rate and down to a fraction of it, both as a cosine."""
    warmup_steps = _warmup_steps(total_steps, warmup_fraction)
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=total_steps,
        # torch divides by zero where the rise is one step long.
        pct_start=warmup_fraction if warmup_steps > 1 else 0.0,
        div_factor=_WARMUP_DIVISOR,
        final_div_factor=1 / (_WARMUP_DIVISOR * final_fraction),
        cycle_momentum=False,
    )


def _warmup_steps(total_steps: int, warmup_fraction: float) -> int:
    if not 0 <= warmup_fraction < 1:
        raise ConfigError(
            f"schedule.warmup_fraction is {warmup_fraction}, expected at least 0 and less than 1"
        )
    return int(warmup_fraction * total_steps)


def _build_optimizer(node: Mapping[str, Any], model: nn.Module) -> Optimizer:
    built = targets.build(node, model=model, params=parameter_groups(model))
    if not isinstance(built, Optimizer):
        raise ConfigError(f"optim: {node[targets.TARGET]} makes no torch optimizer")
    return built


def _build_schedule(node: Mapping[str, Any], optimizer: Optimizer, total_steps: int) -> LRScheduler:
    built = targets.build(node, optimizer=optimizer, total_steps=total_steps)
    if not isinstance(built, LRScheduler):
        raise ConfigError(f"schedule: {node[targets.TARGET]} makes no torch learning rate schedule")
    return built
