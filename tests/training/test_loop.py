import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from aiplat.errors import ConfigError, DataError
from aiplat.tasks.task import Batch, Rows
from aiplat.training.checkpoint import Checkpoints
from aiplat.training.divergence import DivergenceError
from aiplat.training.optim import constant, warmup_cosine
from aiplat.training.records import read_samples
from aiplat.training.result import best_weights
from aiplat.training.samples import epoch_order
from tests.fakes import TinyTask, damage, splits
from tests.training.runs import (
    Run,
    forgetful_model,
    losses,
    notes,
    sgd,
    smooth_model,
    use_storage_that_cannot_rename,
)


def test_the_loop_learns_what_can_be_learned(tmp_path: Path) -> None:
    result, worker = Run(tmp_path, loop={"max_epochs": 5}).go(TinyTask())
    assert result.test_metrics["accuracy"] >= 0.95
    assert np.trace(result.tensors["confusion"]) / 40 == pytest.approx(
        result.test_metrics["accuracy"]
    )
    assert (result.epochs, result.steps, result.rows_seen) == (5, 40, 600)
    assert result.stopped_because == "max_epochs"
    assert min(losses(worker).values()) < 0.2


def test_the_loop_does_not_learn_what_cannot_be_learned(tmp_path: Path) -> None:
    tables = splits(shuffled=True)
    result, _ = Run(tmp_path, tables, loop={"max_epochs": 5}).go(TinyTask())
    assert result.test_metrics["accuracy"] < 0.6


def test_accumulating_gives_the_loss_curve_of_the_large_batch(tmp_path: Path) -> None:
    # 7 rows in 4 micro-batches are 2, 2, 2 and 1; the last batches of 120 rows have 4 each.
    _, whole = Run(tmp_path / "whole", batch_size=7, optimizer=sgd).go()
    _, cut = Run(tmp_path / "cut", batch_size=7, optimizer=sgd, loop={"accumulate": 4}).go()
    assert losses(cut) == pytest.approx(losses(whole), abs=1e-5)
    assert len(losses(whole)) == 36


@pytest.mark.parametrize("schedule", [warmup_cosine, constant, None])
@pytest.mark.parametrize("after", [5, 8, 11])
def test_a_run_cut_off_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, after: int, schedule: Any
) -> None:
    options: dict[str, Any] = {
        "loop": {"ema_decay": 0.9, "clip_norm": 1.0},
        "checkpoint": {"every_steps": 3},
        "schedule": schedule,
    }
    expected, undisturbed = Run(tmp_path / "undisturbed", **options).go(TinyTask(forgetful_model()))
    run = Run(tmp_path / "cut", **options)
    before = run.cut_off(after, TinyTask(forgetful_model()))
    # Weights that are not those of the checkpoint would show.
    result, resumed = run.go(TinyTask(forgetful_model(seed=5)))
    assert max(losses(before)) == after
    assert min(losses(resumed)) == {5: 4, 8: 9, 11: 10}[after]
    assert losses(before) | losses(resumed) == losses(undisturbed)
    assert result.test_metrics == expected.test_metrics
    assert result.attempts == 2
    weights = [best_weights(str(tmp_path / name)) for name in ("undisturbed", "cut")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_every_row_is_trained_on_once_an_epoch_through_many_cuts(tmp_path: Path) -> None:
    run = Run(tmp_path, loop={"max_epochs": 3}, checkpoint={"every_steps": 2})
    for after in (1, 2, 5, 2, 3, 8):
        run.cut_off(after)
    result, _ = run.go()
    row_ids = run.tables["train"].column("row_id").to_pylist()
    orders = [read_samples(str(tmp_path), epoch).tolist() for epoch in (1, 2, 3)]
    assert all(sorted(order) == row_ids for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert result.rows_seen == 3 * len(row_ids)


def test_a_damaged_last_checkpoint_costs_its_steps_and_no_row(tmp_path: Path) -> None:
    run = Run(tmp_path, checkpoint={"every_steps": 3})
    _, undisturbed = Run(tmp_path / "undisturbed").go()
    run.cut_off(7)
    damage(tmp_path / "checkpoints" / "step-00000006" / "model.safetensors")
    # Saved at other steps than before, so that no old record is overwritten by chance.
    _, worker = Run(tmp_path, checkpoint={"every_steps": 5}).go()
    assert "model.safetensors does not match its hash; going back to step 3" in notes(worker)[0]
    assert min(losses(worker)) == 4
    assert losses(worker).items() <= losses(undisturbed).items()
    assert sorted(read_samples(str(tmp_path), 1)) == list(range(120))


def test_a_run_without_any_usable_checkpoint_starts_over_and_says_so(tmp_path: Path) -> None:
    run = Run(tmp_path, checkpoint={"every_steps": 3})
    run.cut_off(5)
    damage(tmp_path / "checkpoints" / "step-00000003" / "state.pt")
    _, worker = run.go()
    assert "starting over" in notes(worker)[0]
    assert min(losses(worker)) == 1


def test_a_damaged_best_checkpoint_does_not_keep_a_run_from_ending(tmp_path: Path) -> None:
    run = Run(tmp_path, loop={"max_epochs": 30, "early_stop_epochs": 3})
    result, _ = run.go()
    (tmp_path / "finished.json").unlink()
    damage(tmp_path / "checkpoints" / f"step-{result.best_step:08d}" / "model.safetensors")
    again, worker = run.go()
    assert "does not match its hash; taking the last weights instead" in notes(worker)[0]
    assert again.best_step == again.steps == result.steps
    start = next(event for event in worker.events if event["kind"] == "start")
    assert start["step"] == result.steps
    assert again.metrics["accuracy"] > 0.8


def test_a_finished_run_is_left_as_it_is_and_hands_over_its_weights(tmp_path: Path) -> None:
    run = Run(tmp_path, loop={"ema_decay": 0.9})
    task = TinyTask(smooth_model())
    first, _ = run.go(task)
    again = TinyTask(smooth_model())
    result, worker = run.go(again)
    assert result.already_finished
    assert result.test_metrics == first.test_metrics
    assert worker.events == []
    state = task.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in again.model.state_dict().items())


def test_training_stops_when_the_metric_stops_getting_better(tmp_path: Path) -> None:
    run = Run(tmp_path, loop={"max_epochs": 50, "early_stop_epochs": 3})
    result, worker = run.go()
    scores = [event["accuracy"] for event in worker.events if event["kind"] == "epoch"]
    assert result.stopped_because == "early_stop"
    assert len(scores) < 50
    best = int(np.argmax(scores))
    assert len(scores) == best + 1 + 3
    assert result.best_step == (best + 1) * 8
    assert result.metrics["accuracy"] == max(scores)


def test_a_metric_to_be_minimized_selects_the_lowest(tmp_path: Path) -> None:
    task = TinyTask(smooth_model())
    task.maximize = False
    result, worker = Run(tmp_path, loop={"max_epochs": 4}).go(task)
    scores = [event["accuracy"] for event in worker.events if event["kind"] == "epoch"]
    assert result.best_step == (int(np.argmin(scores)) + 1) * 8


def test_max_steps_ends_within_an_epoch_with_an_evaluated_model(tmp_path: Path) -> None:
    result, worker = Run(tmp_path, loop={"max_steps": 11}).go()
    assert (result.steps, result.epochs, result.stopped_because) == (11, 1, "max_steps")
    assert result.best_step in (8, 11)
    assert [event["step"] for event in worker.events if event["kind"] == "epoch"] == [8, 11]
    assert read_samples(str(tmp_path), 2).size == 48


def test_epochs_between_evaluations_are_not_measured(tmp_path: Path) -> None:
    _, worker = Run(tmp_path, loop={"max_epochs": 5, "eval_every_epochs": 2}).go()
    epochs = [event for event in worker.events if event["kind"] == "epoch"]
    assert ["accuracy" in event for event in epochs] == [False, True, False, True, True]
    assert ["accuracy" in report for report in worker.reports] == [False, True, False, True, True]


def test_without_validation_rows_the_last_weights_are_the_best(tmp_path: Path) -> None:
    result, _ = Run(tmp_path, splits(val=0, test=0)).go()
    assert result.best_step == result.steps == 16
    assert result.metrics == result.test_metrics == {}


def test_the_average_is_what_is_evaluated_and_handed_over(tmp_path: Path) -> None:
    task = TinyTask(smooth_model())
    Run(tmp_path, loop={"max_epochs": 1, "ema_decay": 0.99}).go(task)
    snapshot = Checkpoints(str(tmp_path)).load(8)
    averaged = snapshot.state["averages"]["averaged"]
    state = task.model.state_dict()
    assert all(torch.equal(state[name], averaged[name]) for name in state)
    assert not torch.equal(state["0.weight"], snapshot.weights["0.weight"])


def test_watchers_are_told_how_far_the_run_is(tmp_path: Path) -> None:
    _, worker = Run(tmp_path, loop={"log_every_steps": 3, "clip_norm": 1.0}).go()
    start, *rest = worker.events
    assert start["kind"] == "start"
    assert start["num_rows"] == {"train": 120, "val": 40, "test": 40}
    assert (start["total_steps"], start["steps_per_epoch"], start["step"]) == (16, 8, 0)
    steps = [event for event in rest if event["kind"] == "step"]
    assert [event["step"] for event in steps] == [1, 3, 6, 9, 12, 15]
    assert [event["epoch"] for event in steps] == [1, 1, 1, 2, 2, 2]
    for event in steps:
        assert event["rows_per_s"] > 0
        assert 0 <= event["data_wait_fraction"] <= 1
        assert {"loss", "lr", "gradient_norm", "train_accuracy"} <= event.keys()
    assert json.dumps(worker.events), "events travel between processes"


class PoisonedTask(TinyTask):
    """One row makes the loss NaN: the first one of the fifth step."""

    poisoned = epoch_order(120, seed=7, epoch=1)[64]

    def encode(self, rows: Rows, augment: bool = False) -> Batch:
        batch = super().encode(rows, augment)
        batch["point"][torch.as_tensor(rows["row_id"]) == self.poisoned] = float("nan")
        return batch


def test_a_loss_that_is_not_finite_ends_the_run_naming_step_and_rows(tmp_path: Path) -> None:
    run = Run(tmp_path, loop={"log_every_steps": 1000}, checkpoint={"every_steps": 1})
    with pytest.raises(DivergenceError) as caught:
        run.go(PoisonedTask(smooth_model()))
    message = str(caught.value)
    assert f"the loss became nan at step 5, on the rows with row_id {PoisonedTask.poisoned}, " in (
        message
    )
    assert Checkpoints(str(tmp_path)).steps() == [3, 4], "what is broken is not saved"


def test_a_loader_that_repeats_a_row_ends_the_run_naming_it(tmp_path: Path) -> None:
    tables = splits()
    row_ids = tables["train"].column("row_id").to_pylist()
    row_ids[30] = 31
    tables["train"] = tables["train"].set_column(0, "row_id", pa.array(row_ids))
    with pytest.raises(DataError, match="repeated were row_id 31; left out were row_id 30"):
        Run(tmp_path, tables).go()


def test_what_cannot_be_trained_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows to train on"):
        Run(tmp_path, {"val": splits()["val"]}).go()
    with pytest.raises(ConfigError, match=r"loop.early_stop_epochs needs validation rows"):
        Run(tmp_path, splits(val=0), loop={"early_stop_epochs": 2}).go()
    task = TinyTask(smooth_model())
    task.coupled = True
    with pytest.raises(ConfigError, match=r"loop.accumulate is 2, .* set loop.accumulate=1"):
        Run(tmp_path, loop={"accumulate": 2}).go(task)
    task.coupled = False
    task.primary = "f1"
    with pytest.raises(ConfigError, match=r"task.primary is 'f1', .*accuracy, auroc"):
        Run(tmp_path, loop={"max_steps": 1}).go(task)


def test_a_run_does_not_go_on_with_other_data_or_another_plan(tmp_path: Path) -> None:
    Run(tmp_path, checkpoint={"every_steps": 2}).cut_off(5)
    with pytest.raises(ConfigError, match=r"planned for 16 steps .* now makes 24"):
        Run(tmp_path, loop={"max_epochs": 3}).go()
    with pytest.raises(DataError, match=r"began with 120 rows .* now has 100"):
        Run(tmp_path, splits(train=100)).go()


def test_half_precision_learns_too(tmp_path: Path) -> None:
    for precision in ("bf16", "fp16"):
        run = Run(
            tmp_path / precision,
            loop={"precision": precision, "max_epochs": 5, "clip_norm": 1.0},
            checkpoint={"every_steps": 4},
        )
        run.cut_off(18)
        result, worker = run.go(TinyTask(smooth_model()))
        assert worker.events[0]["precision"] == precision
        assert result.test_metrics["accuracy"] > 0.9


def test_a_run_survives_on_storage_that_cannot_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_storage_that_cannot_rename(tmp_path, monkeypatch)
    run = Run("fake://run", checkpoint={"every_steps": 3})
    run.cut_off(7)
    damage(tmp_path / "run" / "checkpoints" / "step-00000006" / "state.pt")
    result, worker = run.go()
    assert min(losses(worker)) == 4
    assert sorted(read_samples("fake://run", 1)) == list(range(120))
    assert result.steps == 16
