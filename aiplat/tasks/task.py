"""What every learning problem offers: encode rows, score a batch, measure, answer.

A task is handed its model. It knows no device, no rank, no Ray and no HTTP: the loop moves batches,
and the server turns `inputs` and `outputs` into its request and answer schemas.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from aiplat.tasks.fields import InputField, OutputField

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["Batch", "InputField", "OutputField", "Rows", "Task"]

# A column name -> one value a row. Images are the encoded bytes of a file, texts are str, numbers
# float (None or NaN where missing), categories str (None where missing), labels the class index.
Rows = Mapping[str, Sequence[Any]]
# A tensor name -> a tensor whose first dimension is the row.
Batch = dict[str, Tensor]


class Task(Protocol):
    """One learning problem over one dataset, with the model that solves it.

    primary: the metric to select checkpoints by, and `maximize` whether more is better.
    coupled: true where a row's loss depends on the other rows of the batch (contrastive learning);
        gradient accumulation would change such a loss, so the loop refuses it.
    """

    model: nn.Module
    primary: str
    maximize: bool
    coupled: bool

    @property
    def inputs(self) -> tuple[InputField, ...]:
        """What a request row may hold."""
        ...

    @property
    def outputs(self) -> tuple[OutputField, ...]:
        """What an answer holds."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The dataset columns that training and evaluation read; the targets among them."""
        ...

    def encode(self, rows: Rows, augment: bool = False) -> Batch:
        """Rows to tensors on the CPU. Pure and safe to call from several threads at once.

        The loader and the predictor both call it, so there is one preprocessing. Target columns
        that `rows` does not hold are left out of the batch. Raises DataError naming the column
        and the row where a value cannot be encoded.
        """
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss over the batch's rows, and what else to log (scalars, means over rows)."""
        ...

    def metrics(self) -> "MetricCollection":
        """Fresh metrics, on the CPU, in fp32; they reduce themselves across ranks."""
        ...

    def measure(self, batch: Batch, metrics: "MetricCollection") -> None:
        """Update `metrics` with this rank's rows of an evaluation split."""
        ...

    def predict(self, batch: Batch) -> list[dict[str, Any]]:
        """One JSON-ready answer a row, its keys those of `outputs`."""
        ...
