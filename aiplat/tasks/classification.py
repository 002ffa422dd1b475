"""One label out of several, whatever the inputs are."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from aiplat.tasks.fields import InputField, OutputField
from aiplat.tasks.labels import LabelColumn
from aiplat.tasks.task import Batch, Rows

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


class Classification(ABC):
    """What all classifiers share; each says how rows become tensors, and tensors scores."""

    primary = "accuracy"
    maximize = True
    coupled = False

    def __init__(self, model: nn.Module, label: LabelColumn) -> None:
        self.model = model
        self.label = label

    @property
    @abstractmethod
    def inputs(self) -> tuple[InputField, ...]:
        """The fields of a request row."""

    @property
    def outputs(self) -> tuple[OutputField, ...]:
        """The label and what led to it."""
        return self.label.outputs

    @property
    def columns(self) -> tuple[str, ...]:
        """The inputs and the label."""
        return (*(field.name for field in self.inputs), self.label.name)

    @abstractmethod
    def encode_inputs(self, rows: Rows, augment: bool) -> Batch:
        """The inputs as tensors."""

    @abstractmethod
    def scores(self, batch: Batch) -> Tensor:
        """The model's scores (rows, labels)."""

    def encode(self, rows: Rows, augment: bool = False) -> Batch:
        """The inputs as tensors, and `label` where the rows have it."""
        batch = self.encode_inputs(rows, augment)
        if self.label.name in rows:
            batch["label"] = self.label.encode(rows[self.label.name])
        return batch

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy, and the accuracy on these rows."""
        scores, target = self.scores(batch), batch["label"]
        accuracy = (scores.argmax(dim=1) == target).float().mean()
        return self.label.loss(scores, target), {"accuracy": accuracy}

    def metrics(self) -> "MetricCollection":
        """Accuracy, F1, cross entropy and confusion; for two labels also the area under the ROC."""
        from torchmetrics import MetricCollection

        # Each is updated on its own, so they must not share their states.
        return MetricCollection(dict(self.label.metrics()), compute_groups=False)

    def measure(self, batch: Batch, metrics: "MetricCollection") -> None:
        """Update the metrics."""
        self.label.measure(metrics, self.scores(batch), batch["label"])

    def predict(self, batch: Batch) -> list[dict[str, Any]]:
        """The most probable label of each row, and the probability of every one."""
        return self.label.answers(self.scores(batch))
