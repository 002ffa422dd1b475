"""Population based training (Jaderberg et al., 2017), each generation of a member a trial.

A trial begins with the weights and the optimizer's state of one before it: its own predecessor, or
where that did badly one of the best, with settings near those of that one. All of it follows from
the trials of the study, so a population outlives its driver as any study does.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from aiplat.tuning.notes import GENERATION, PREDECESSOR, VALUES
from aiplat.tuning.space import Parameter, Space

# The part of a generation that is replaced, and the part that replaces it.
_QUANTILE = 0.25
_FACTORS = (0.8, 1.2)
_RESAMPLE = 0.25


@dataclass(frozen=True)
class Successor:
    """The next trial of a member."""

    values: Mapping[str, Any]
    generation: int
    predecessor: int
    parent: int


def successor(
    trials: Sequence[FrozenTrial], space: Space, maximize: bool, last: int, seed: int
) -> Successor | None:
    """Who goes on next; None while nobody can. last: the last generation."""
    succeeded = {trial.user_attrs.get(PREDECESSOR) for trial in trials}
    waiting = [
        trial
        for trial in trials
        if trial.state.is_finished() and trial.number not in succeeded and _generation(trial) < last
    ]
    draw = random.Random(seed)
    for trial in sorted(waiting, key=lambda trial: (_generation(trial), trial.number)):
        peers = _ranked(trials, _generation(trial), maximize)
        if not peers:
            continue
        share = max(1, math.floor(_QUANTILE * len(peers)))
        is_poor = trial not in peers or (len(peers) > 1 and trial in peers[-share:])
        parent = draw.choice(peers[:share]) if is_poor else trial
        values = dict(parent.user_attrs[VALUES])
        if is_poor:
            values = explored(values, space, draw)
        return Successor(values, _generation(trial) + 1, trial.number, parent.number)
    return None


def explored(values: Mapping[str, Any], space: Space, draw: random.Random) -> dict[str, Any]:
    """Settings near these: each a fifth larger or smaller, or drawn anew."""
    return {
        parameter.path: _moved(parameter, values[parameter.path], draw)
        for parameter in space.parameters
        if parameter.path in values
    }


def _moved(parameter: Parameter, value: Any, draw: random.Random) -> Any:
    spread = parameter.distribution
    if not isinstance(spread, FloatDistribution | IntDistribution):
        return draw.choice(parameter.examples()) if draw.random() < _RESAMPLE else value
    low, high = float(spread.low), float(spread.high)
    if draw.random() < _RESAMPLE:
        share = draw.random()
        moved = low * (high / low) ** share if spread.log else low + (high - low) * share
    else:
        moved = value * draw.choice(_FACTORS)
    if spread.step:
        moved = low + round((moved - low) / spread.step) * spread.step
    moved = min(max(moved, low), high)
    return int(moved) if isinstance(spread, IntDistribution) else moved


def _generation(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get(GENERATION, 0))


def _ranked(trials: Sequence[FrozenTrial], generation: int, maximize: bool) -> list[FrozenTrial]:
    """The complete trials of a generation, the best first."""
    found = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE and _generation(trial) == generation
    ]
    return sorted(found, key=lambda trial: trial.values[0], reverse=maximize)
