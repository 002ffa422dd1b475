"""Small real things that stand in for large ones: a task to learn in milliseconds, and its rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
)

from aiplat.tasks.task import Batch, InputField, OutputField, Rows

NUM_CLASSES = 3


class TinyTask:
    """Which of three blobs does a point belong to? A small network knows after 20 steps."""

    primary = "accuracy"
    maximize = True
    coupled = False

    def __init__(self, model: nn.Module | None = None, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = model or nn.Sequential(
            nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, NUM_CLASSES)
        )

    @property
    def inputs(self) -> tuple[InputField, ...]:
        return (InputField("x", "number", example=0.5), InputField("y", "number", example=-1.0))

    @property
    def outputs(self) -> tuple[OutputField, ...]:
        return (OutputField("label", "label"),)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("x", "y", "label")

    def encode(self, rows: Rows, augment: bool = False) -> Batch:
        points = torch.as_tensor(np.stack([rows["x"], rows["y"]], axis=1), dtype=torch.float32)
        if augment:
            points = points + 0.01
        batch = {"point": points}
        if "label" in rows:
            batch["label"] = torch.as_tensor(np.asarray(rows["label"]), dtype=torch.int64)
        return batch

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        scores = self.model(batch["point"])
        right = (scores.argmax(dim=1) == batch["label"]).float().mean()
        return functional.cross_entropy(scores, batch["label"]), {"train_accuracy": right}

    def metrics(self) -> MetricCollection:
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(NUM_CLASSES, average="micro"),
                "auroc": MulticlassAUROC(NUM_CLASSES),
                "confusion": MulticlassConfusionMatrix(NUM_CLASSES),
            }
        )

    def measure(self, batch: Batch, metrics: MetricCollection) -> None:
        scores = self.model(batch["point"]).softmax(dim=1)
        metrics.update(scores.cpu(), batch["label"].cpu())

    def predict(self, batch: Batch) -> list[dict[str, Any]]:
        return [{"label": str(int(best))} for best in self.model(batch["point"]).argmax(dim=1)]


def blobs(num_rows: int, seed: int = 0, first_row_id: int = 0, shuffled: bool = False) -> pa.Table:
    """Rows for TinyTask; shuffled labels cannot be learned."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, NUM_CLASSES, num_rows)
    angles = 2 * np.pi * labels / NUM_CLASSES
    points = np.stack([np.cos(angles), np.sin(angles)]) * 2 + generator.normal(
        0, 0.5, (2, num_rows)
    )
    if shuffled:
        labels = generator.permutation(labels)
    return pa.table(
        {
            "row_id": np.arange(first_row_id, first_row_id + num_rows),
            "x": points[0],
            "y": points[1],
            "label": labels,
        }
    )


def splits(
    train: int = 120, val: int = 40, test: int = 40, shuffled: bool = False
) -> dict[str, pa.Table]:
    """Splits of TinyTask's rows; those of no rows are left out."""
    sizes = {"train": train, "val": val, "test": test}
    starts = {"train": 0, "val": train, "test": train + val}
    return {
        name: blobs(size, seed=index, first_row_id=starts[name], shuffled=shuffled)
        for index, (name, size) in enumerate(sizes.items())
        if size
    }


def damage(path: Path) -> None:
    """Flip one byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
