"""Which label an image and a text have together; either may be missing."""

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from aiplat.errors import DataError
from aiplat.tasks.classification import Classification
from aiplat.tasks.columns import num_rows, require_all
from aiplat.tasks.fields import InputField
from aiplat.tasks.images import ImageColumn
from aiplat.tasks.labels import LabelColumn
from aiplat.tasks.task import Batch, Rows
from aiplat.tasks.texts import TextColumn


class LooksAt(Protocol):
    """A model that says which inputs it looks at: `both`, `image` or `text`."""

    modalities: str


class MultimodalClassification(Classification):
    """Classify rows of an image and a text with a model that makes scores of both.

    hide_fraction: of the rows trained on, so many lose their image and as many others their text,
        for the model to learn what to answer without them; needed where no such rows are in the
        data but requests may come so.
    """

    def __init__(
        self,
        model: nn.Module,
        image: ImageColumn,
        text: TextColumn,
        label: LabelColumn,
        hide_fraction: float = 0.0,
    ) -> None:
        super().__init__(model, label)
        modalities = cast(LooksAt, model).modalities
        self.image = image if modalities != "text" else None
        self.text = text if modalities != "image" else None
        self.hide_fraction = hide_fraction

    @property
    def inputs(self) -> tuple[InputField, ...]:
        """The image and the text, or the one the model looks at."""
        parts = [part for part in (self.image, self.text) if part is not None]
        return tuple(part.field(required=len(parts) == 1) for part in parts)

    def encode_inputs(self, rows: Rows, augment: bool) -> Batch:
        """`image`, `tokens` and `mask`, with `has_image` and `has_text`: which rows have them."""
        batch: Batch = {}
        nothing = [None] * num_rows(rows)
        if self.image is not None:
            values = rows.get(self.image.name, nothing)
            batch["image"], batch["has_image"] = self.image.encode(values, augment)
        if self.text is not None:
            values = rows.get(self.text.name, nothing)
            batch["tokens"], batch["mask"], batch["has_text"] = self.text.encode(values)
        self._require_one(batch)
        if augment and self.hide_fraction and len(self.inputs) == 2:
            draw = torch.rand(len(nothing))
            # One that has only this side keeps it.
            batch["has_image"] &= (draw >= self.hide_fraction) | ~batch["has_text"]
            batch["has_text"] &= (draw < 1 - self.hide_fraction) | ~batch["has_image"]
        return batch

    def scores(self, batch: Batch) -> Tensor:
        """The model's scores (rows, labels)."""
        scores: Tensor = self.model(
            batch.get("image"),
            batch.get("has_image"),
            batch.get("tokens"),
            batch.get("mask"),
            batch.get("has_text"),
        )
        return scores

    def _require_one(self, batch: Batch) -> None:
        names = [field.name for field in self.inputs]
        found = torch.stack([batch[key] for key in ("has_image", "has_text") if key in batch])
        if len(names) == 1:
            require_all(found[0], names[0])
        elif not bool(found.any(dim=0).all()):
            row = int(found.any(dim=0).int().argmin())
            raise DataError(
                f"row {row}: both {names[0]!r} and {names[1]!r} are missing; give at least one"
            )
