"""An end to NaN: which losses and gradients were not finite, and what is done about it.

All ranks look together and so decide alike. Looking makes a device finish its work; it is done when
something is logged or saved anyway, never once a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aiplat.errors import AiplatError
from aiplat.store import files
from aiplat.training.adjustments import read_adjustments, write_adjustments
from aiplat.training.collective import broadcast_object, gather_objects
from aiplat.training.step import StepOutcome
from aiplat.training.worker import Worker

_NAMED_ROWS = 20
# A batch may be bad; where so many are in a row, it is the training that is.
_MAX_IN_A_ROW = 5
_ADVICE = "try a lower optim.lr, loop.clip_norm=1 or loop.precision=fp32"


class DivergenceError(AiplatError):
    """The loss became NaN or infinite. is_answered: the next attempt leaves the batch out."""

    is_answered = False
    step: int | None = None
    rank: int | None = None


@dataclass(frozen=True)
class BadStep:
    """A step whose loss or gradient was not finite. rank: of the first rank with such a loss."""

    step: int
    epoch: int
    rank: int | None
    what: str
    row_ids: list[int]

    @property
    def text(self) -> str:
        """What happened, on which rows."""
        more = ", ..." if len(self.row_ids) > _NAMED_ROWS else ""
        named = ", ".join(map(str, self.row_ids[:_NAMED_ROWS]))
        return f"{self.what} at step {self.step}, on the rows with row_id {named}{more}"


class LossWatch:
    """Collects the losses of a rank until it is time to look at them.

    on_nan: see `LoopConfig`. is_scaled: gradients overflow now and then and are left out, as fp16
    does it.
    """

    def __init__(self, worker: Worker, on_nan: str = "fail", is_scaled: bool = False) -> None:
        self.worker = worker
        self.on_nan = on_nan
        self.is_scaled = is_scaled
        self.unchecked: list[tuple[int, int, StepOutcome]] = []
        self.in_a_row: list[int] = []

    def add(self, epoch: int, step: int, outcome: StepOutcome) -> None:
        """Remember what a step did."""
        if not outcome.is_skipped:
            self.unchecked.append((epoch, step, outcome))

    def check(self) -> None:
        """Look at the steps since the last time; every rank calls it.

        Raises DivergenceError on every rank, unless the bad steps were skipped as they came.
        """
        found = _merged(gather_objects(self._bad_steps()))
        last = self.unchecked[-1][1] if self.unchecked else 0
        self.unchecked = []
        if self.on_nan == "skip":
            self._skipped(found, last)
        elif found:
            self._end(found[0])

    def _skipped(self, found: Sequence[BadStep], last: int) -> None:
        for bad in found:
            path = self._keep(bad)
            follows = bool(self.in_a_row) and bad.step == self.in_a_row[-1] + 1
            self.in_a_row = [*self.in_a_row, bad.step] if follows else [bad.step]
            if len(self.in_a_row) >= _MAX_IN_A_ROW:
                raise _error(bad, f"{bad.text}; that was the {_MAX_IN_A_ROW}th in a row: {_ADVICE}")
            text = f"{bad.text}; the update was skipped, all of its rows are in {path}"
            if self.worker.rank == 0:
                self.worker.log({"kind": "note", "text": text})
        if self.in_a_row and last > self.in_a_row[-1]:
            self.in_a_row = []

    def _end(self, bad: BadStep) -> None:
        path = self._keep(bad)
        kept = f"all of them are in {path}; the checkpoint before is kept"
        if self.on_nan == "fail":
            raise _error(
                bad, f"{bad.text}; look at these rows, or {_ADVICE}, or loop.on_nan=skip; {kept}"
            )
        adjustments = broadcast_object(read_adjustments(self.worker.run_dir).skipping(bad.step))
        latest = set(range(bad.step - _MAX_IN_A_ROW + 1, bad.step + 1))
        if latest <= set(adjustments.skipped):
            raise _error(bad, f"{bad.text}, the {_MAX_IN_A_ROW}th in a row: {_ADVICE}; {kept}")
        if self.worker.rank == 0:
            write_adjustments(self.worker.run_dir, adjustments)
        error = _error(
            bad, f"{bad.text}; {kept}, the run goes back to it and leaves this batch out"
        )
        error.is_answered = True
        raise error

    def _keep(self, bad: BadStep) -> str:
        """Write down which rows it was."""
        path = files.join(self.worker.run_dir, "bad_batches", f"step-{bad.step:08d}.json")
        if self.worker.rank == 0:
            value = {"epoch": bad.epoch, "step": bad.step, "what": bad.what, "rows": bad.row_ids}
            files.write_json(path, {**value, "on_nan": self.on_nan})
        return path

    def _bad_steps(self) -> list[BadStep]:
        """The bad steps of this rank."""
        if not self.unchecked:
            return []
        losses = torch.stack([outcome.loss for _, _, outcome in self.unchecked]).tolist()
        norms = _norms([outcome.gradient_norm for _, _, outcome in self.unchecked])
        bad = []
        for (epoch, step, outcome), loss, norm in zip(self.unchecked, losses, norms, strict=True):
            rank: int | None = self.worker.rank
            what = f"the loss became {loss}"
            if _is_finite(loss):
                if self.is_scaled or _is_finite(norm):
                    continue
                # Averaged over the ranks, it does not tell whose it is.
                rank, what = None, f"the gradient's norm became {norm}"
            row_ids = torch.cat([row_ids.cpu() for row_ids in outcome.row_ids])
            bad.append(BadStep(step, epoch, rank, what, row_ids.tolist()))
        return bad


def _merged(of_ranks: Sequence[Sequence[BadStep]]) -> list[BadStep]:
    """One a step, in order: of the ranks whose loss it was, or else of all."""
    by_step: dict[int, list[BadStep]] = {}
    for bad in (bad for bads in of_ranks for bad in bads):
        by_step.setdefault(bad.step, []).append(bad)
    merged = []
    for step, bads in sorted(by_step.items()):
        guilty = [bad for bad in bads if bad.rank is not None] or bads
        rows = [row_id for bad in guilty for row_id in bad.row_ids]
        first = guilty[0]
        merged.append(BadStep(step, first.epoch, first.rank, first.what, rows))
    return merged


def _error(bad: BadStep, text: str) -> DivergenceError:
    error = DivergenceError(text)
    error.step, error.rank = bad.step, bad.rank
    return error


def _norms(norms: Sequence[Tensor | None]) -> list[float]:
    known: list[Any] = [norm for norm in norms if norm is not None]
    values = iter(torch.stack(known).tolist() if known else [])
    return [0.0 if norm is None else next(values) for norm in norms]


def _is_finite(value: float) -> bool:
    return value - value == 0
