"""A user's own LightningModule through our loop: what it is promised, in one process."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch.nn import functional

from aiplat.errors import ConfigError
from aiplat.tasks.task import Batch
from aiplat.training.local import LocalWorker
from aiplat.training.records import read_samples
from tests.fakes import TinyTask, splits
from tests.training.lightning.modules import Blobs, task
from tests.training.runs import Run, losses, notes


def run(folder: Path, **options: Any) -> Run:
    """A run that takes optimizer and schedule from the module."""
    return Run(folder, optimizer=None, schedule=None, **options)


def epochs(worker: LocalWorker) -> list[dict[str, Any]]:
    return [event for event in worker.events if event["kind"] == "epoch"]


def steps(worker: LocalWorker) -> list[dict[str, Any]]:
    return [event for event in worker.events if event["kind"] == "step"]


def test_a_module_learns_what_can_be_learned(tmp_path: Path) -> None:
    result, _ = run(tmp_path, loop={"max_epochs": 5}).go(task())
    assert result.test_metrics["accuracy"] >= 0.95


def test_a_module_does_not_learn_what_cannot_be_learned(tmp_path: Path) -> None:
    tables = splits(shuffled=True)
    result, _ = run(tmp_path, tables=tables, loop={"max_epochs": 5}).go(task())
    assert result.test_metrics["accuracy"] < 0.6


@pytest.mark.parametrize("after", [5, 8, 11])
def test_a_module_cut_off_goes_on_as_if_nothing_had_happened(tmp_path: Path, after: int) -> None:
    options: dict[str, Any] = {"loop": {"max_epochs": 3}, "checkpoint": {"every_steps": 3}}
    expected, undisturbed = run(tmp_path / "undisturbed", **options).go(task())
    cut = run(tmp_path / "cut", **options)
    before = cut.cut_off(after, task())
    module = Blobs()
    torch.nn.init.zeros_(next(module.parameters()))
    result, resumed = cut.go(task(module))
    assert losses(before) | losses(resumed) == losses(undisturbed)
    assert {event["step"]: event["lr"] for event in steps(resumed)}.items() <= {
        event["step"]: event["lr"] for event in steps(undisturbed)
    }.items()
    assert result.test_metrics == expected.test_metrics
    assert sorted(read_samples(str(tmp_path / "cut"), 1)) == list(range(120))
    assert module.num_saved > len(list((tmp_path / "cut/checkpoints").iterdir()))
    epoch, index, step = module.seen[0]
    assert (epoch, index) == divmod(step, 8)


def test_hooks_are_called_where_lightning_calls_them(tmp_path: Path) -> None:
    module = Blobs()
    run(tmp_path).go(task(module))
    whole = ["start 0", "validated", "end 0", "start 1", "validated", "end 1"]
    assert module.calls == whole
    assert module.seen == [(step // 8, step % 8, step) for step in range(16)]
    assert module.device.type == "cpu"
    assert dict(module.hparams) == {"width": 16, "lr": 0.02, "dropout": 0.3}


def test_what_a_module_logs_reaches_those_who_watch(tmp_path: Path) -> None:
    result, worker = run(tmp_path).go(task())
    for event in steps(worker):
        assert event["train_loss_step"] == pytest.approx(event["loss"])
        assert event["rows"] in (15, 16, 12)
    for index, event in enumerate(epochs(worker)):
        of_epoch = steps(worker)[8 * index : 8 * index + 8]
        rows = [step["rows"] for step in of_epoch]
        mean = sum(step["loss"] * count for step, count in zip(of_epoch, rows, strict=True)) / 120
        assert event["train"]["train_loss_epoch"] == pytest.approx(mean)
        assert event["train"]["epochs_done"] == index + 1
        assert event["val_accuracy"] == pytest.approx(event["accuracy"])
        assert 0 < event["val_loss"] < 2
    assert result.metrics["val_accuracy"] == result.metrics["accuracy"]
    assert "val_accuracy" not in result.test_metrics, "there is no test_step"


def test_a_schedule_of_the_module_moves_by_epochs_or_by_steps(tmp_path: Path) -> None:
    _, worker = run(tmp_path / "epochs").go(task())
    assert [event["lr"] for event in steps(worker)] == [0.02] * 8 + [0.01] * 8

    class BySteps(Blobs):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
            total = self.trainer.estimated_stepping_batches
            fall = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": fall, "interval": "step"}}

    _, worker = run(tmp_path / "steps").go(task(BySteps()))
    assert [event["lr"] for event in steps(worker)] == [1 - step / 16 for step in range(16)]


def test_a_schedule_by_plateaus_looks_at_what_it_monitors(tmp_path: Path) -> None:
    class ByPlateau(Blobs):
        monitor = "val_loss"

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=1e-9)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, patience=0, factor=0.1, threshold=0.5, cooldown=5, eps=0
            )
            return {"optimizer": optimizer, "lr_scheduler": plateau, "monitor": self.monitor}

    _, worker = run(tmp_path / "plateau", loop={"max_epochs": 4}).go(task(ByPlateau()))
    rates = [event["lr"] for event in steps(worker)]
    assert rates == pytest.approx([1e-9] * 16 + [1e-10] * 16, rel=1e-6)
    ByPlateau.monitor = "val_lost"
    with pytest.raises(ConfigError, match=r"monitors 'val_lost', .* val_loss"):
        run(tmp_path / "missing").go(task(ByPlateau()))


def test_accumulating_gives_the_loss_curve_of_the_large_batch(tmp_path: Path) -> None:
    whole, cut = Blobs(dropout=0.0), Blobs(dropout=0.0)
    _, large = run(tmp_path / "whole", batch_size=7).go(task(whole))
    _, small = run(tmp_path / "cut", batch_size=7, loop={"accumulate": 2}).go(task(cut))
    assert losses(small) == pytest.approx(losses(large), abs=1e-4)
    assert [index for _, index, _ in cut.seen] == list(range(36)) * 2


def test_a_module_without_an_optimizer_takes_the_recipes(tmp_path: Path) -> None:
    class Bare(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 3)

        def forward(self, point: torch.Tensor) -> Any:
            return self.layer(point)

        def training_step(self, batch: Batch) -> Any:
            return functional.cross_entropy(self(batch["point"]), batch["label"])

        def train_dataloader(self) -> Any:
            raise AssertionError

    _, worker = Run(tmp_path, loop={"max_epochs": 3}).go(task(Bare()))
    assert losses(worker)[24] < losses(worker)[1]
    assert notes(worker) == [
        "rows come from the dataset: train_dataloader of the model are not called"
    ]


def test_one_of_the_two_optimizers_and_schedules_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set optim=null to take the model's"):
        Run(tmp_path).go(task())
    with pytest.raises(ConfigError, match="set schedule=null to take the model's"):
        Run(tmp_path, optimizer=None).go(task())
    with pytest.raises(ConfigError, match="optim is null, and the model brings no optimizer"):
        Run(tmp_path, optimizer=None).go(TinyTask())


def test_what_the_loop_cannot_do_is_refused_all_at_once() -> None:
    class Manual(Blobs):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def on_after_backward(self) -> None: ...

        def configure_callbacks(self) -> Any: ...

    with pytest.raises(ConfigError) as refused:
        task(Manual())
    message = str(refused.value)
    assert message.startswith("model: Manual cannot be trained by this loop:\n")
    for fault in ("automatic_optimization is False", "on_after_backward", "configure_callbacks"):
        assert f"\n  {fault}" in message

    class Iterating(Blobs):
        def training_step(self, dataloader_iter: Any) -> Any: ...  # type: ignore[override]

    with pytest.raises(ConfigError, match=r"takes \(dataloader_iter\), expected \(batch"):
        task(Iterating())
    with pytest.raises(ConfigError, match="it has no training_step"):
        task(LightningModule())


def test_what_comes_out_of_a_step_must_be_a_loss(tmp_path: Path) -> None:
    class Lost(Blobs):
        def training_step(self, batch: Batch, batch_idx: int) -> Any: ...

    with pytest.raises(ConfigError, match="training_step returned NoneType, expected the loss"):
        run(tmp_path).go(task(Lost()))


def test_parts_of_a_trainer_that_there_are_none_of_are_named(tmp_path: Path) -> None:
    class Steering(Blobs):
        def on_train_epoch_start(self) -> None:
            self.trainer.should_stop = True
            self.trainer.save_checkpoint("last.ckpt")

    with pytest.raises(ConfigError, match=r"self.trainer.save_checkpoint: .* current_epoch"):
        run(tmp_path).go(task(Steering()))
