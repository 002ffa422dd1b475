"""A small LightningModule for the rows of TinyTask, with everything the loop calls."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

from aiplat.tasks.task import Batch
from aiplat.training.lightning.task import LightningTask
from tests.fakes import NUM_CLASSES, TinyTask


class Blobs(LightningModule):
    """Which of three blobs a point belongs to; its learning rate halves each epoch.

    seen: epoch, index and step of every training step.
    """

    def __init__(self, width: int = 16, lr: float = 0.02, dropout: float = 0.3) -> None:
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Linear(2, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, NUM_CLASSES)
        )
        self.accuracy = MulticlassAccuracy(NUM_CLASSES, average="micro")
        self.calls: list[str] = []
        self.seen: list[tuple[int, int, int]] = []
        self.num_saved = 0

    def forward(self, point: Tensor) -> Tensor:
        scores: Tensor = self.layers(point)
        return scores

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        self.seen.append((self.current_epoch, batch_idx, self.global_step))
        loss = functional.cross_entropy(self(batch["point"]), batch["label"])
        self.log("train_loss", loss, True, on_epoch=True)
        self.log_dict({"rows": float(len(batch["label"]))})
        return {"loss": loss, "scores": None}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        scores = self(batch["point"])
        self.accuracy(scores, batch["label"])
        self.log("val_accuracy", self.accuracy, on_step=False, on_epoch=True)
        self.log("val_loss", functional.cross_entropy(scores, batch["label"]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"])
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
        return [optimizer], [schedule]

    def on_train_epoch_start(self) -> None:
        self.calls.append(f"start {self.current_epoch}")

    def on_validation_epoch_end(self) -> None:
        self.calls.append("validated")

    def on_train_epoch_end(self) -> None:
        self.calls.append(f"end {self.current_epoch}")
        self.log("epochs_done", self.current_epoch + 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.num_saved += 1
        checkpoint["num_saved"] = self.num_saved

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.num_saved = checkpoint["num_saved"]


def task(module: LightningModule | None = None) -> LightningTask:
    """TinyTask with this module; a fresh one where none is given."""
    return LightningTask(TinyTask(module or Blobs()))
