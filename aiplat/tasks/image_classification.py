"""Which label an image has."""

from torch import Tensor, nn

from aiplat.tasks.classification import Classification
from aiplat.tasks.columns import require_all, values_of
from aiplat.tasks.fields import InputField
from aiplat.tasks.images import ImageColumn
from aiplat.tasks.labels import LabelColumn
from aiplat.tasks.task import Batch, Rows


class ImageClassification(Classification):
    """Classify images with a model that makes scores of pixels."""

    def __init__(self, model: nn.Module, image: ImageColumn, label: LabelColumn) -> None:
        super().__init__(model, label)
        self.image = image

    @property
    def inputs(self) -> tuple[InputField, ...]:
        """The image."""
        return (self.image.field(),)

    def encode_inputs(self, rows: Rows, augment: bool) -> Batch:
        """`image`: uint8 pixels."""
        pixels, present = self.image.encode(values_of(rows, self.image.name), augment)
        require_all(present, self.image.name)
        return {"image": pixels}

    def scores(self, batch: Batch) -> Tensor:
        """The model's scores (rows, labels)."""
        scores: Tensor = self.model(batch["image"])
        return scores
