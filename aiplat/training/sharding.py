"""A model cut over the ranks: each keeps a part of every weight, gradient and optimizer state.

Fully sharded data parallelism of torch (FSDP2). Ranks compute in step: a block's weights are
gathered when it is due and dropped after it.
"""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from aiplat.errors import ConfigError
from aiplat.tasks.task import Task
from aiplat.training.blocks import blocks_of
from aiplat.training.collective import num_ranks, share_buffers
from aiplat.training.precision import Precision


class Sharding:
    """A task's whole model, which is measured and handed over, and its twin, which trains in parts.

    The whole one has weights only while it needs them. Ranks measure different numbers of batches,
    for which they could not compute in step, and in fp32 whatever the training does.
    """

    def __init__(self, task: Task, device: torch.device) -> None:
        self.device = device
        self.whole = task.model
        self.trained: Task = copy.copy(task)
        self.trained.model = copy.deepcopy(task.model)
        self.scalars: list[nn.Parameter] = []
        self._empty()
        for part in self.whole.modules():
            for name, value in part.named_buffers(recurse=False):
                setattr(part, name, value.to(device))

    def shard(self, loss: nn.Module, precision: Precision) -> nn.Module:
        """Cut `loss`, which computes with the twin, block by block; rank 0's weights win."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        exact, policy = MixedPrecisionPolicy(), MixedPrecisionPolicy()
        if precision.dtype is not None:
            # Autocast casts the inputs, and computes in fp32 what needs it.
            policy = MixedPrecisionPolicy(
                param_dtype=precision.dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
            )
        mesh = init_device_mesh(self.device.type, (num_ranks(),))
        for part in [*_separable_blocks(self.trained.model), loss]:
            # Moved one by one: a device holds its parts, and one block whole.
            part.to(self.device)
            _share(part)
            scalars = {value for value in part.parameters() if not value.ndim}
            # Batch norm takes no weights narrower than its running statistics.
            chosen = exact if _has_uncut_norms(part) else policy
            fully_shard(part, mesh=mesh, mp_policy=chosen, ignored_params=scalars)
        # These cannot be cut; their gradients are ours to average.
        self.scalars = [value for value in loss.parameters() if not value.ndim]
        return loss

    def average_scalars(self) -> None:
        """Average over the ranks the gradients that no shard takes care of."""
        gradients = [value.grad for value in self.scalars if value.grad is not None]
        if gradients:
            together = torch.stack(gradients)
            distributed.all_reduce(together)
            for gradient, total in zip(gradients, together / num_ranks(), strict=True):
                gradient.copy_(total)

    def weights(self, averaged: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The twin's weights, whole, on the device of every rank. Every rank calls it.

        averaged: what to take in place of the weights of these names.
        """
        share_buffers(self.trained.model)
        weights = self.trained.model.state_dict() | dict(averaged or {})
        return {name: whole(value.detach()) for name, value in weights.items()}

    @contextmanager
    def filled(self, averaged: Mapping[str, Tensor] | None = None) -> Iterator[None]:
        """The whole model has the twin's weights until the block ends."""
        self.hand_over(self.weights(averaged))
        try:
            yield
        finally:
            self._empty()

    def hand_over(self, weights: Mapping[str, Tensor]) -> None:
        """Give the whole model these weights."""
        placed = {name: value.to(self.device) for name, value in weights.items()}
        self.whole.load_state_dict(placed, assign=True)

    def _empty(self) -> None:
        nothing = {name: value.to("meta") for name, value in self.whole.named_parameters()}
        self.whole.load_state_dict(nothing, assign=True, strict=False)


def check_scaled(optimizer: Optimizer) -> None:
    """Raise ConfigError where torch cannot scale the loss for these gradients."""
    first = optimizer.param_groups[0]["params"][0]
    if not first.ndim:
        raise ConfigError(
            "loop.precision=fp16 with scale.strategy=fsdp needs an optimizer whose first parameter "
            "is no scalar; order its groups so, or choose loop.precision=bf16 or scale.strategy=ddp"
        )


def distributed_like(state: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """A learner's state with what the optimizer keeps of each weight cut as that weight is."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    kept = {
        index: {
            name: placed_like(value, weights[index])
            if isinstance(value, Tensor) and value.shape == weights[index].shape != ()
            else value
            for name, value in values.items()
        }
        for index, values in state["optimizer"]["state"].items()
    }
    return state | {"optimizer": state["optimizer"] | {"state": kept}}


def whole(value: Tensor) -> Tensor:
    """A tensor's parts of all ranks together; every rank calls it."""
    full: Any = getattr(value, "full_tensor", None)
    return value if full is None else full()


def is_cut(value: Any) -> bool:
    """Whether ranks have a part each of a value."""
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)


def placed_like(value: Tensor, example: Tensor) -> Tensor:
    """A tensor that every rank has whole, on the device of another of its shape and cut as it."""
    from torch.distributed.tensor import distribute_tensor

    value, cut = value.to(example.device), cast(Any, example)
    if not is_cut(example):
        return value
    # No source rank: each takes its part of its own.
    return distribute_tensor(value, cut.device_mesh, cut.placements, src_data_rank=None)


def _separable_blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks that have no weight in common with each other or with the rest of the model."""
    blocks = blocks_of(model)
    within = {part for block in blocks for part in block.modules()}
    rest = [part.parameters(recurse=False) for part in model.modules() if part not in within]
    holders = Counter(chain(*map(set, rest), *(set(block.parameters()) for block in blocks)))
    return [block for block in blocks if all(holders[value] == 1 for value in block.parameters())]


def _has_uncut_norms(part: nn.Module) -> bool:
    norms = [norm for norm in part.modules() if isinstance(norm, _BatchNorm) and norm.affine]
    return any(not is_cut(norm.weight) for norm in norms)


@torch.no_grad()
def _share(part: nn.Module) -> None:
    for value in chain(part.parameters(), part.buffers()):
        if not is_cut(value):
            distributed.broadcast(value, src=0)
