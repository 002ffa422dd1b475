"""What runs a study's trials is handed, and what it hands back: the seam to the cluster."""

from dataclasses import dataclass
from typing import Protocol

from aiplat.training.job import TrainJob
from aiplat.tuning.config import Objective
from aiplat.tuning.study import Ending


@dataclass(frozen=True)
class TrialPlan:
    """One trial to be run. name: of its run. objectives: what to measure of it at its end.

    engine: by which its latency is measured.
    """

    number: int
    name: str
    job: TrainJob
    objectives: tuple[Objective, ...]
    engine: str = "eager"


class Trials(Protocol):
    """Where the trials of a study come from, and who is told how they go; on one thread."""

    @property
    def folder(self) -> str:
        """Where the study lies."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether no trial is left to run, and none is running."""
        ...

    def next(self) -> TrialPlan | None:
        """The next trial to run; None where there is none to start now."""
        ...

    def report(self, number: int, epoch: int, score: float, seconds: float = 0.0) -> bool:
        """Take in a trial's score of an epoch; the answer is whether it ends now, pruned.

        seconds: since the trial's process began with it.
        """
        ...

    def complete(self, number: int, ending: Ending) -> None:
        """The trial ran to its end."""
        ...

    def fail(self, number: int, cause: str, text: str) -> None:
        """The trial ended without a result."""
        ...

    def lost(self, number: int, cause: str, text: str) -> None:
        """The trial's process is gone; it goes on from its checkpoint where that may help."""
        ...
