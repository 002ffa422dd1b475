"""What happens to a run that meets a loss which is not finite; see also test_failures.py."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from aiplat.tasks.task import Batch, Rows
from aiplat.training.adjustments import read_adjustments
from aiplat.training.checkpoint import Checkpoints
from aiplat.training.divergence import DivergenceError
from aiplat.training.records import read_samples
from aiplat.training.samples import epoch_order
from tests.fakes import NUM_CLASSES, TinyTask
from tests.training.runs import Run, losses, notes, sgd, smooth_model

ORDER = epoch_order(120, seed=7, epoch=1)


class PoisonedTask(TinyTask):
    """Some rows of the first epoch make the loss NaN."""

    def __init__(self, model: nn.Module, rows: list[int]) -> None:
        super().__init__(model)
        self.rows = torch.tensor(rows)

    def encode(self, rows: Rows, augment: bool = False) -> Batch:
        batch = super().encode(rows, augment)
        if augment:
            batch["point"][torch.isin(torch.as_tensor(rows["row_id"]), self.rows)] = float("nan")
        return batch


def normalised_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, NUM_CLASSES)
    )


def one_epoch(folder: Path, **loop: Any) -> Run:
    return Run(
        folder,
        loop={"max_epochs": 1, "log_every_steps": 3, **loop},
        checkpoint={"every_steps": 2},
    )


def bad_batch(folder: Path, step: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"bad_batches/step-{step:08d}.json").read_text())
    return found


def test_a_run_that_fails_keeps_the_rows_and_the_checkpoint_before(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError) as caught:
        one_epoch(tmp_path).go(PoisonedTask(smooth_model(), [ORDER[64]]))
    assert "the loss became nan at step 5, on the rows with row_id " in str(caught.value)
    assert str(tmp_path / "bad_batches" / "step-00000005.json") in str(caught.value)
    assert bad_batch(tmp_path, 5)["rows"] == ORDER[64:80].tolist()
    assert Checkpoints(str(tmp_path)).steps() == [2, 4]


def test_a_skipped_batch_changes_neither_weights_nor_statistics(tmp_path: Path) -> None:
    task = PoisonedTask(normalised_model(), [ORDER[64]])
    result, worker = one_epoch(tmp_path, on_nan="skip").go(task)
    assert result.metrics["accuracy"] > 0.8
    assert all(bool(torch.isfinite(value).all()) for value in task.model.state_dict().values())
    (note,) = notes(worker)
    assert note.startswith("the loss became nan at step 5, on the rows with row_id ")
    assert "the update was skipped" in note
    assert sorted(read_samples(str(tmp_path), 1)) == list(range(120)), "they count as trained on"


def is_same_after(folder: Path, first: int, second: int) -> bool:
    """Whether the floating point state at the end of both steps is the same."""
    weights = [Checkpoints(str(folder)).load(step).weights for step in (first, second)]
    names = [name for name, value in weights[0].items() if value.is_floating_point()]
    return all(torch.equal(weights[0][name], weights[1][name]) for name in names)


@pytest.mark.parametrize("bad", [[ORDER[64]], []])
def test_the_step_of_a_skipped_batch_leaves_everything_as_it_was(
    tmp_path: Path, bad: list[int]
) -> None:
    run = one_epoch(tmp_path, on_nan="skip", max_steps=5)
    run.checkpoint = {"every_steps": 1}
    run.go(PoisonedTask(normalised_model(), bad))
    assert is_same_after(tmp_path, 4, 5) == bool(bad)


def test_a_run_where_every_batch_would_be_skipped_ends(tmp_path: Path) -> None:
    def explosive(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=1e38)

    run = one_epoch(tmp_path, on_nan="skip")
    run.optimizer, run.schedule = explosive, None
    with pytest.raises(DivergenceError, match="the 5th in a row"):
        run.go(PoisonedTask(smooth_model(), []))


def test_after_a_rollback_the_batch_is_left_out(tmp_path: Path) -> None:
    run = one_epoch(tmp_path, on_nan="rollback")
    with pytest.raises(DivergenceError, match="goes back to it") as caught:
        run.go(PoisonedTask(smooth_model(), [ORDER[64]]))
    assert caught.value.is_answered
    assert read_adjustments(str(tmp_path)).skipped == (5,)
    result, worker = run.go(PoisonedTask(smooth_model(), [ORDER[64]]))
    assert (result.attempts, result.steps) == (2, 8)
    assert all(math.isfinite(loss) for loss in losses(worker).values())
    assert sorted(read_samples(str(tmp_path), 1)) == list(range(120))
    assert result.rows_seen == 120


def test_rollbacks_end_where_leaving_out_batches_does_not_help(tmp_path: Path) -> None:
    run = one_epoch(tmp_path, on_nan="rollback")
    task = PoisonedTask(smooth_model(), ORDER.tolist())
    for step in (1, 2, 3, 4):
        with pytest.raises(DivergenceError, match=f"at step {step},.*leaves this batch out"):
            run.go(PoisonedTask(smooth_model(), task.rows.tolist()))
    with pytest.raises(DivergenceError, match="the 5th in a row") as caught:
        run.go(PoisonedTask(smooth_model(), task.rows.tolist()))
    assert not caught.value.is_answered


def test_a_gradient_that_is_not_finite_is_found_before_it_is_in_the_loss(tmp_path: Path) -> None:
    class Kinked(TinyTask):
        """The loss is finite, its gradient is not: a square root at zero."""

        steps = 0

        def loss(self, batch: Batch) -> Any:
            loss, extras = super().loss(batch)
            self.steps += 1
            weight = next(self.model.parameters())
            kink = (weight * 0).sum().sqrt() if self.steps == 5 else 0.0
            return loss + kink, extras

    result, worker = one_epoch(tmp_path, on_nan="skip").go(Kinked(smooth_model()))
    assert "the gradient's norm became nan at step 5" in notes(worker)[0]
    assert result.steps == 8


def test_sgd_and_fused_optimizers_skip_alike(tmp_path: Path) -> None:
    def fused(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.5, fused=True)

    found = []
    for name, optimizer in (("plain", sgd), ("fused", fused)):
        run = one_epoch(tmp_path / name, on_nan="skip", log_every_steps=1)
        run.optimizer = optimizer
        _, worker = run.go(PoisonedTask(smooth_model(), [ORDER[64]]))
        found.append(losses(worker))
    assert found[0][8] == pytest.approx(found[1][8], abs=1e-5)
