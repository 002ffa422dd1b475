"""The class of a row: as a target, as metrics, and as an answer."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from aiplat.datasets.versions import DatasetInfo
from aiplat.errors import ConfigError
from aiplat.tasks.columns import column_of_kind, misfit
from aiplat.tasks.fields import OutputField

if TYPE_CHECKING:
    from torchmetrics import Metric, MetricCollection


class LabelColumn:
    """The column that says which of the dataset's labels a row has.

    name: null = the dataset's only label column. smoothing: the share of a target's weight that
    is spread over all labels.
    """

    outputs = (
        OutputField("label", "label", "The most probable label."),
        OutputField("probabilities", "probabilities", "The probability of every label."),
    )

    def __init__(self, info: DatasetInfo, name: str | None = None, smoothing: float = 0.0) -> None:
        if len(info.labels) < 2:
            raise ConfigError(f"to classify takes two labels, the dataset has {len(info.labels)}")
        self.name = column_of_kind(info, "label", name)
        self.labels = info.labels
        self.smoothing = smoothing

    def encode(self, values: Any) -> Tensor:
        """Indices of the labels. Raises DataError for what is none."""
        for row, value in enumerate(values):
            if not _is_index(value, len(self.labels)):
                expected = f"a label's index from 0 to {len(self.labels) - 1}"
                raise misfit(self.name, row, expected, value)
        return torch.tensor(np.asarray(values, dtype=np.int64))

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """Cross entropy in fp32."""
        return F.cross_entropy(scores.float(), target, label_smoothing=self.smoothing)

    def metrics(self) -> "dict[str, Metric]":
        """Fresh metrics; `loss` is without smoothing, `auc` that of the second of two labels."""
        # It takes longer to import than torch, and nothing needs it before the first evaluation.
        from torchmetrics import MeanMetric
        from torchmetrics.classification import (
            BinaryAUROC,
            MulticlassAccuracy,
            MulticlassConfusionMatrix,
            MulticlassF1Score,
        )

        count = len(self.labels)
        metrics: dict[str, Metric] = {
            "accuracy": MulticlassAccuracy(count, average="micro", validate_args=False),
            "f1": MulticlassF1Score(count, average="macro", validate_args=False),
            "loss": MeanMetric(),
            "confusion": MulticlassConfusionMatrix(count, validate_args=False),
        }
        if count == 2:
            metrics["auc"] = BinaryAUROC(validate_args=False)
        return metrics

    def measure(self, metrics: "MetricCollection", scores: Tensor, target: Tensor) -> None:
        """Update what `metrics` made, in fp32 on the CPU."""
        scores, target = scores.float().cpu(), target.cpu()
        for name in ("accuracy", "f1", "confusion"):
            metrics[name].update(scores, target)
        metrics["loss"].update(F.cross_entropy(scores, target), weight=len(target))
        if "auc" in metrics:
            metrics["auc"].update(scores.softmax(dim=1)[:, 1], target)

    def answers(self, scores: Tensor) -> list[dict[str, Any]]:
        """The most probable label of each row, and the probability of every one."""
        probabilities = scores.float().softmax(dim=1)
        best = probabilities.argmax(dim=1).tolist()
        return [
            {
                "label": self.labels[index],
                "probabilities": dict(zip(self.labels, row, strict=True)),
            }
            for index, row in zip(best, probabilities.tolist(), strict=True)
        ]


def _is_index(value: Any, num_labels: int) -> bool:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_whole and 0 <= value < num_labels
