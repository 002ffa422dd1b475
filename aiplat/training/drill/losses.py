"""Whether a disturbed run learned what undisturbed ones do, within what the seed alone changes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Curve:
    """The training loss of a run: by step, and its mean over each epoch."""

    steps: dict[int, float]
    epochs: dict[int, float]

    @property
    def final(self) -> float:
        """The mean loss of the last epoch."""
        return self.epochs[max(self.epochs)]


@dataclass(frozen=True)
class Comparison:
    """A disturbed run beside undisturbed ones, the first of which has its seed.

    noise: how far from the first one's loss the disturbed run's may be. widest: the largest gap of
    any epoch's mean loss from the first one's.
    """

    final: float
    undisturbed: tuple[float, ...]
    noise: float
    widest: float

    @property
    def gap(self) -> float:
        """How far the final losses of the runs with one seed are apart."""
        return abs(self.final - self.undisturbed[0])

    @property
    def is_within_noise(self) -> bool:
        """Whether the disturbance made no more difference than another seed does."""
        return self.gap <= self.noise


def loss_curve(events: Iterable[Mapping[str, Any]]) -> Curve:
    """The curve that a run's events tell of; steps done again count as they were done last."""
    steps = {event["step"]: event for event in events if event["kind"] == "step"}
    epochs: dict[int, list[float]] = {}
    for event in steps.values():
        epochs.setdefault(event["epoch"], []).append(event["loss"])
    return Curve(
        steps={step: float(steps[step]["loss"]) for step in sorted(steps)},
        epochs={epoch: float(np.mean(epochs[epoch])) for epoch in sorted(epochs)},
    )


def compare(disturbed: Curve, undisturbed: Sequence[Curve], tolerance: float) -> Comparison:
    """Hold a run's loss against that of runs that were left alone.

    tolerance: the part of the loss that counts as noise even where the seeds differ less.
    """
    finals = tuple(curve.final for curve in undisturbed)
    twin = undisturbed[0]
    gaps = [
        abs(loss - twin.epochs[epoch])
        for epoch, loss in disturbed.epochs.items()
        if epoch in twin.epochs
    ]
    return Comparison(
        final=disturbed.final,
        undisturbed=finals,
        noise=max(max(finals) - min(finals), tolerance * abs(finals[0])),
        widest=max(gaps, default=0.0),
    )
