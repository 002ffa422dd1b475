"""One optimizer step: the micro-batches forward and backward, then one update of the weights."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aiplat.datasets.versions import ROW_ID
from aiplat.errors import DataError
from aiplat.tasks.task import Batch
from aiplat.training.learner import Learner
from aiplat.training.samples import Positions, StepPlan


@dataclass
class StepOutcome:
    """What one step did, as far as this rank knows; tensors stay on the device.

    loss, extras: the sums over this rank's rows, divided by the global batch's rows.
    wait_s: time spent waiting for data. gradient_norm: before clipping, where something asks for
    it. is_skipped: nothing was computed, the rows only count as trained on.
    """

    num_rows: int
    lr: float
    loss: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)
    row_ids: list[Tensor] = field(default_factory=list)
    wait_s: float = 0.0
    gradient_norm: Tensor | None = None
    is_skipped: bool = False

    def next_batch(self, batches: Iterator[Batch], positions: Positions) -> Batch:
        """The next micro-batch, which must be of the rows planned."""
        asked_at = time.perf_counter()
        batch = next(batches)
        self.wait_s += time.perf_counter() - asked_at
        row_ids = batch[ROW_ID]
        if len(row_ids) != len(positions):
            raise DataError(f"the loader gave {len(row_ids)} rows where {len(positions)} were due")
        self.row_ids.append(row_ids)
        return batch

    def add(self, loss: Tensor, extras: dict[str, Tensor], part: float) -> None:
        """Count a micro-batch that is `part` of the global batch."""
        self.loss = self.loss + loss.detach() * part
        for name, value in extras.items():
            added = value.detach() * part
            self.extras[name] = self.extras[name] + added if name in self.extras else added


def train_step(learner: Learner, plan: StepPlan, batches: Iterator[Batch]) -> StepOutcome:
    """Train on one global batch, of which `batches` gives this rank's micro-batches.

    The gradient is that of the mean loss over the global batch's rows, however unevenly ranks and
    micro-batches share them.
    """
    outcome = StepOutcome(
        num_rows=len(plan.positions),
        lr=float(learner.optimizer.param_groups[0]["lr"]),
        loss=torch.zeros((), device=learner.device),
        is_skipped=plan.is_skipped,
    )
    if plan.is_skipped:
        for positions in plan.micro_batches:
            outcome.next_batch(batches, positions)
        return outcome
    learner.begin_step()
    last = len(plan.micro_batches) - 1
    for index, positions in enumerate(plan.micro_batches):
        with learner.phase("data wait"):
            batch = outcome.next_batch(batches, positions)
        part = len(positions) / len(plan.positions)
        with learner.syncing(index == last):
            with learner.phase("forward"), learner.precision.autocast():
                loss, extras = learner.loss(batch)
            # Ranks average their gradients; the factor makes of it a mean over rows.
            with learner.phase("backward"):
                learner.precision.scaled(loss * (part * learner.world_size)).backward()
        if part:
            outcome.add(loss, extras, part)
    with learner.phase("optimizer"):
        outcome.gradient_norm = learner.update()
    return outcome
