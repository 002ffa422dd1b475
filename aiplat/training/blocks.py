"""The blocks a model repeats: the parts to shard and to compute again one at a time.

Found by structure, so that any model has them; knows no processes and no optimizer.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from aiplat.errors import ConfigError

# A model whose structure says nothing of use may name its blocks itself by this attribute.
DECLARED = "memory_blocks"


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model, in order; none lies within another.

    They are the members of a ModuleList (the layers of a transformer) and those of a Sequential
    that have a sibling of their kind (the bottlenecks of a residual network), as far as they have
    parameters and parts of their own. A module with an attribute `memory_blocks` has those.
    """
    declared = getattr(model, DECLARED, None)
    if declared is not None:
        return list(declared)
    found: list[nn.Module] = []
    for child in model.children():
        within = blocks_of(child)
        if _is_block(child, model) and not (within and _is_list(child)):
            found.append(child)
        else:
            found += within
    return list(dict.fromkeys(found))


def recompute_activations(model: nn.Module) -> None:
    """Keep of each block its input alone; backward computes the rest again.

    Values and gradients stay the same: a block draws the same random numbers again and updates its
    running statistics once. Raises ConfigError where the model has no blocks.
    """
    blocks = blocks_of(model)
    if not blocks:
        raise ConfigError(
            f"loop.activation_checkpointing is true, but {type(model).__name__} has no blocks to "
            f"compute again (no ModuleList of layers); name them in its attribute {DECLARED}, or "
            "set it to false"
        )
    for block in blocks:
        # The method and not the module is replaced, so that the names of the weights stay.
        forward: Callable[..., Any] = block.forward
        again = partial(_again, block) if _has_statistics(block) else None
        options = {"context_fn": again} if again else {}
        block.forward = partial(checkpoint, forward, use_reentrant=False, **options)


@contextmanager
def without_statistics(module: nn.Module) -> Iterator[None]:
    """What is computed within leaves no trace in running statistics."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, num_batches) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, num_batches


def _again(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """The contexts of a block's forward pass and of its repetition."""
    return nullcontext(), without_statistics(block)


def _has_statistics(block: nn.Module) -> bool:
    return any(isinstance(part, _BatchNorm) for part in block.modules())


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList | nn.Sequential)


def _is_block(child: nn.Module, parent: nn.Module) -> bool:
    has_parts = next(child.children(), None) is not None
    if not has_parts or next(child.parameters(), None) is None:
        return False
    if isinstance(parent, nn.ModuleList):
        return True
    siblings = [sibling for sibling in parent.children() if type(sibling) is type(child)]
    return isinstance(parent, nn.Sequential) and len(siblings) > 1
