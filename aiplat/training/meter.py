"""How the training goes: speed, loss and learning rate for whoever watches."""

import time
from typing import Any

import torch

from aiplat.training.collective import gather_objects
from aiplat.training.divergence import LossWatch
from aiplat.training.step import StepOutcome
from aiplat.training.worker import Worker


class Meter:
    """Collects what the steps did.

    Looks at the numbers, for which a device has to finish its work, only when due.
    """

    def __init__(self, worker: Worker, every_steps: int, losses: LossWatch) -> None:
        self.worker = worker
        self.losses = losses
        self.every_steps = every_steps
        self.logged_any = False
        self.restart()

    def restart(self) -> None:
        """Leave out of the speed what was not training."""
        self.since = time.perf_counter()
        self.num_rows = 0
        self.wait_s = 0.0

    def add(self, epoch: int, step: int, outcome: StepOutcome) -> None:
        """Count a step, and log it where it is due: the first, then every so many."""
        if outcome.is_skipped:
            return
        self.losses.add(epoch, step, outcome)
        self.num_rows += outcome.num_rows
        self.wait_s += outcome.wait_s
        if step % self.every_steps == 0 or not self.logged_any:
            self._log(epoch, step, outcome)
            self.logged_any = True

    def check(self) -> None:
        """Raise DivergenceError on every rank if the loss was not finite since the last time."""
        self.losses.check()

    def _log(self, epoch: int, step: int, outcome: StepOutcome) -> None:
        self.check()
        of_ranks = gather_objects((_numbers(outcome), self.wait_s))
        means = _summed([numbers for numbers, _ in of_ranks])
        # Whichever rank waits for data, the others wait for it.
        wait_s = max(wait_s for _, wait_s in of_ranks)
        elapsed = time.perf_counter() - self.since
        event = {
            **means,
            "kind": "step",
            "epoch": epoch,
            "step": step,
            "lr": outcome.lr,
            "rows_per_s": self.num_rows / elapsed,
            "data_wait_fraction": min(1.0, wait_s / elapsed),
        }
        if outcome.gradient_norm is not None:
            event["gradient_norm"] = float(outcome.gradient_norm)
        if self.worker.rank == 0:
            self.worker.log(event)
        self.restart()


def _numbers(outcome: StepOutcome) -> dict[str, float]:
    tensors = {**outcome.extras, "loss": outcome.loss}
    values = torch.stack([value.float() for value in tensors.values()]).tolist()
    return dict(zip(tensors, values, strict=True))


def _summed(of_ranks: list[dict[str, float]]) -> dict[str, Any]:
    """Every rank has its rows' part of the mean; ranks without rows lack the extras."""
    names = {name: None for numbers in of_ranks for name in numbers}
    return {name: sum(numbers.get(name, 0.0) for numbers in of_ranks) for name in names}
