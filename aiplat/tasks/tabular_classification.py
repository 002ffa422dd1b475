"""Which label a row of numbers and categories has."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aiplat.datasets.versions import Column, DatasetInfo
from aiplat.errors import ConfigError
from aiplat.tasks.classification import Classification
from aiplat.tasks.columns import misfit, values_of
from aiplat.tasks.fields import InputField
from aiplat.tasks.labels import LabelColumn
from aiplat.tasks.task import Batch, Rows


class TabularClassification(Classification):
    """Classify rows of a table with a model that makes scores of numbers and category indices.

    Numbers are standardised by the training split's statistics; a missing one is the mean, and
    marked. A category that is missing, or that the training split does not have, has index 0.
    """

    # No row's encoding depends on its batch, or on chance: see `training.encoded`.
    encodes_rows_alone = True

    def __init__(self, model: nn.Module, info: DatasetInfo, label: LabelColumn) -> None:
        super().__init__(model, label)
        self.numbers = info.of_kind("number")
        self.categories = info.of_kind("category")
        if not (self.numbers or self.categories):
            raise ConfigError("the dataset has no number and no category column to classify by")
        self.primary = "auc" if len(label.labels) == 2 else "accuracy"
        self.indices = [
            {category: index for index, category in enumerate(column.categories, start=1)}
            for column in self.categories
        ]

    @property
    def inputs(self) -> tuple[InputField, ...]:
        """The numbers and the categories; any may be missing."""
        numbers = [
            InputField(column.name, "number", required=False, example=_round(column.mean))
            for column in self.numbers
        ]
        categories = [
            InputField(
                column.name,
                "category",
                required=False,
                choices=column.categories,
                example=next(iter(column.categories), None),
            )
            for column in self.categories
        ]
        return (*numbers, *categories)

    def encode_inputs(self, rows: Rows, augment: bool) -> Batch:  # noqa: ARG002
        """`numbers`, `missing` (which of them are) and `categories`: (rows, columns) each."""
        numbers = [_standardised(column, values_of(rows, column.name)) for column in self.numbers]
        categories = [
            _indices(column.name, values_of(rows, column.name), indices)
            for column, indices in zip(self.categories, self.indices, strict=True)
        ]
        num_rows = len((*numbers, *categories)[0])
        known = _table(numbers, num_rows, np.float32)
        return {
            "numbers": torch.nan_to_num(known),
            "missing": known.isnan(),
            "categories": _table(categories, num_rows, np.int64),
        }

    def scores(self, batch: Batch) -> Tensor:
        """The model's scores (rows, labels)."""
        scores: Tensor = self.model(batch["numbers"], batch["missing"], batch["categories"])
        return scores


def _standardised(column: Column, values: Any) -> "np.ndarray[Any, Any]":
    """The numbers in units of standard deviations from the mean, NaN where missing."""
    if not (isinstance(values, np.ndarray) and values.dtype.kind in "fiu"):
        for row, value in enumerate(values):
            if not (value is None or _is_number(value)):
                raise misfit(column.name, row, "a number", value)
    known = np.asarray(values, dtype=np.float64)
    if np.isinf(known).any():
        row = int(np.isinf(known).argmax())
        raise misfit(column.name, row, "a finite number", float(known[row]))
    standardised: np.ndarray[Any, Any] = (known - (column.mean or 0.0)) / (column.std or 1.0)
    return standardised


def _indices(name: str, values: Sequence[Any], indices: dict[str, int]) -> "np.ndarray[Any, Any]":
    for row, value in enumerate(values):
        if not (value is None or isinstance(value, str)):
            raise misfit(name, row, "a text", value)
    return np.array([indices.get(value, 0) for value in values], dtype=np.int64)


def _table(columns: Sequence["np.ndarray[Any, Any]"], num_rows: int, dtype: Any) -> Tensor:
    table = np.zeros((num_rows, len(columns)), dtype=dtype)
    for index, column in enumerate(columns):
        table[:, index] = column
    return torch.from_numpy(table)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _round(mean: float | None) -> float:
    """An example that a person would write: the mean to three significant digits."""
    if not mean:
        return 0.0
    return round(mean, 2 - math.floor(math.log10(abs(mean))))
