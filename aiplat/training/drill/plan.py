"""Which part of a training run is killed after which step: a pure function of the seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from aiplat.errors import ConfigError

_PART_WITH_KILLS = 0.75


@dataclass(frozen=True)
class Kill:
    """One disturbance, due as soon as the run tells of `step`.

    number: from 1. victim: whom among those there are; a large number, to be taken modulo theirs.
    corrupt: the latest checkpoint is damaged as well.
    """

    number: int
    kind: str
    step: int
    victim: int
    corrupt: bool = False


def plan_kills(
    kinds: Sequence[str], num_kills: int, num_corrupt: int, num_steps: int, seed: int
) -> tuple[Kill, ...]:
    """Kills at random steps of a run, of each kind equally often, in the order of their steps.

    Not after the first step, with no checkpoint to go back to, nor after the last. Raises
    ConfigError where the run has too few steps for them.
    """
    between = num_steps - 2
    if num_kills > between:
        raise ConfigError(
            f"kills={num_kills}, but the run has {num_steps} steps; raise loop.max_epochs or lower "
            "dataset.batch_size or kills"
        )
    random = np.random.default_rng(seed)
    # One in each equal part, so that no two fall on the same recovery; a run that is fast goes on
    # while a kill is prepared, so the end is left for those that come late.
    last = max(num_kills + 2, int(num_steps * _PART_WITH_KILLS))
    edges = np.linspace(2, last, num_kills + 1).astype(int)
    steps = [int(random.integers(low, high)) for low, high in pairwise(edges)]
    order = [kinds[index % len(kinds)] for index in range(num_kills)]
    random.shuffle(order)
    damaged = set(random.permutation(num_kills)[:num_corrupt].tolist())
    return tuple(
        Kill(index + 1, kind, step, int(random.integers(1 << 16)), index in damaged)
        for index, (kind, step) in enumerate(zip(order, steps, strict=True))
    )
