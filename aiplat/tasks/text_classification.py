"""Which label a text has."""

from torch import Tensor, nn

from aiplat.tasks.classification import Classification
from aiplat.tasks.columns import require_all, values_of
from aiplat.tasks.fields import InputField
from aiplat.tasks.labels import LabelColumn
from aiplat.tasks.task import Batch, Rows
from aiplat.tasks.texts import TextColumn


class TextClassification(Classification):
    """Classify texts with a model that makes scores of tokens."""

    def __init__(self, model: nn.Module, text: TextColumn, label: LabelColumn) -> None:
        super().__init__(model, label)
        self.text = text

    @property
    def inputs(self) -> tuple[InputField, ...]:
        """The text."""
        return (self.text.field(),)

    def encode_inputs(self, rows: Rows, augment: bool) -> Batch:  # noqa: ARG002
        """`tokens` and their `mask`; there is no augmentation of texts."""
        tokens, mask, present = self.text.encode(values_of(rows, self.text.name))
        require_all(present, self.text.name)
        return {"tokens": tokens, "mask": mask}

    def scores(self, batch: Batch) -> Tensor:
        """The model's scores (rows, labels)."""
        scores: Tensor = self.model(batch["tokens"], batch["mask"])
        return scores
