"""The text classifier of `bert` as a LightningModule, to show how one brings its own training."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchmetrics.classification import MulticlassAccuracy

from aiplat.errors import ConfigError
from aiplat.models.bert import Bert, TextClassifier

try:
    from lightning.pytorch import LightningModule
except ImportError as error:
    raise ConfigError(
        "a LightningModule needs the extra: pip install 'aiplat[lightning]'"
    ) from error


class LightningClassifier(LightningModule):
    """Class scores of a text, with the steps and the optimizer it is trained by.

    lr: at its peak, after a linear rise over `warmup_fraction` of the run's steps; it then falls
    as a cosine.
    """

    def __init__(
        self,
        encoder: Bert,
        num_classes: int,
        dropout: float = 0.1,
        lr: float = 1e-4,  # noqa: ARG002
        weight_decay: float = 0.01,  # noqa: ARG002
        warmup_fraction: float = 0.05,  # noqa: ARG002
    ) -> None:
        super().__init__()
        # Lightning reads the arguments from this very call.
        self.save_hyperparameters(ignore=["encoder"])
        self.vocab_size = encoder.vocab_size
        self.max_tokens = encoder.max_tokens
        self.classifier = TextClassifier(encoder, num_classes, dropout=dropout)
        self.accuracy = MulticlassAccuracy(num_classes, average="micro")

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens: ids (rows, tokens); mask: false on padding. Returns scores (rows, classes)."""
        scores: Tensor = self.classifier(tokens, mask)
        return scores

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002
        """Cross entropy."""
        scores = self(batch["tokens"], batch["mask"])
        loss = F.cross_entropy(scores.float(), batch["label"])
        accuracy = (scores.argmax(dim=1) == batch["label"]).float().mean()
        self.log_dict({"train_loss": loss, "train_accuracy": accuracy}, on_epoch=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:  # noqa: ARG002
        """Cross entropy and accuracy of the validation split."""
        scores = self(batch["tokens"], batch["mask"]).float()
        self.accuracy(scores, batch["label"])
        self.log("val_loss", F.cross_entropy(scores, batch["label"]))
        self.log("val_accuracy", self.accuracy)

    def configure_optimizers(self) -> Any:
        """AdamW, its learning rate moved with every step."""
        chosen, total_steps = self.hparams, self.trainer.estimated_stepping_batches
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=chosen["lr"], weight_decay=chosen["weight_decay"])
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=chosen["lr"],
            total_steps=int(total_steps),
            # torch divides by zero where the rise is one step long.
            pct_start=chosen["warmup_fraction"] if total_steps > 40 else 0.0,
            cycle_momentum=False,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
