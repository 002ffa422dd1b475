"""What one process does about a lack of memory; test_failures.py has what two do."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from aiplat.tasks.task import Batch
from aiplat.training.adjustments import read_adjustments
from aiplat.training.faults import MemoryShortError, read_faults
from aiplat.training.local import LocalWorker
from tests.fakes import TinyTask
from tests.training.runs import Run, losses, sgd, smooth_model


class HungryTask(TinyTask):
    """More rows at a time than `fits` ask for more memory than there is anywhere."""

    def __init__(self, fits: int, begins_at: int = 0) -> None:
        super().__init__(smooth_model())
        self.fits, self.begins_at, self.asked = fits, begins_at, 0

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        self.asked += 1
        if len(batch["point"]) > self.fits and self.asked > self.begins_at:
            torch.empty(1 << 60, dtype=torch.uint8)
        return super().loss(batch)


def run_of(folder: Path, **loop: Any) -> Run:
    return Run(folder, optimizer=sgd, loop=loop)


def failures(worker: LocalWorker) -> list[str]:
    return [event["text"] for event in worker.events if event["kind"] == "failure"]


def test_one_process_goes_on_at_the_same_step_with_the_same_gradients(tmp_path: Path) -> None:
    _, undisturbed = run_of(tmp_path / "whole").go()
    result, worker = run_of(tmp_path / "split").go(HungryTask(fits=5, begins_at=6))
    assert losses(worker) == pytest.approx(losses(undisturbed), abs=1e-5)
    assert result.attempts == 1
    assert [line.partition(" do not fit")[0] for line in failures(worker)] == [
        "oom at step 7 on rank 0: 16 rows at a time",
        "oom at step 7 on rank 0: 8 rows at a time",
    ]
    assert read_adjustments(str(tmp_path / "split")).split == 4


def test_a_run_that_is_continued_remembers_what_fits(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.cut_off(9, HungryTask(fits=8))
    _, worker = run.go(HungryTask(fits=8))
    assert not failures(worker)


@pytest.mark.parametrize(
    ("fits", "coupled", "oom", "advice"),
    [
        (0, False, "split", "micro-batches are of one row already"),
        (8, True, "split", "compares the rows of a batch with each other"),
        (8, False, "fail", "set loop.oom=split"),
    ],
)
def test_where_splitting_is_impossible_the_run_says_why(
    tmp_path: Path, fits: int, coupled: bool, oom: str, advice: str
) -> None:
    task = HungryTask(fits)
    task.coupled = coupled
    with pytest.raises(MemoryShortError, match=advice) as caught:
        run_of(tmp_path, oom=oom).go(task)
    assert not caught.value.is_answered
    (fault,) = read_faults(str(tmp_path))
    assert (fault.cause, fault.step) == ("oom", 1)


def test_what_is_no_lack_of_memory_is_raised_as_it_is_and_told(tmp_path: Path) -> None:
    class WrongTask(TinyTask):
        def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            raise KeyError("point")

    with pytest.raises(KeyError):
        run_of(tmp_path).go(WrongTask())
    (fault,) = read_faults(str(tmp_path))
    assert fault.line == "code at step 1 on rank 0: KeyError: 'point'"
    assert "in loss" in fault.details
