"""From Arrow tables to what a task encodes, and to the batch it makes of it.

The one way from stored rows to tensors, whoever reads them: loaders, evaluation, batch prediction.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from aiplat.datasets.versions import ROW_ID
from aiplat.errors import DataError
from aiplat.tasks.task import Batch, Rows, Task


def rows_of(table: pa.Table) -> Rows:
    """The columns as tasks take them: image files as bytes, numbers as arrays, all else as lists.

    A missing number is NaN, any other missing value is None.
    """
    return {name: _values(table.column(name)) for name in table.column_names}


def encode_rows(table: pa.Table, task: Task, augment: bool = False) -> Batch:
    """The task's batch of the table's rows, with their `row_id`.

    A table without rows makes a batch of an empty `row_id` alone: tasks need not encode nothing.
    Raises DataError that names the first row at fault by its id.
    """
    row_ids = torch.from_numpy(np.array(table.column(ROW_ID).to_numpy(), dtype=np.int64))
    if not table.num_rows:
        return {ROW_ID: row_ids}
    try:
        return {**task.encode(rows_of(table), augment=augment), ROW_ID: row_ids}
    except DataError:
        _raise_for_row(table, task, augment)
        raise


def _raise_for_row(table: pa.Table, task: Task, augment: bool) -> None:
    """Find the row to blame where a task could not encode them together."""
    for index, row_id in enumerate(table.column(ROW_ID).to_pylist()):
        try:
            task.encode(rows_of(table.slice(index, 1)), augment=augment)
        except DataError as error:
            # Its place in a batch tells nobody anything.
            text = str(error).replace(", row 0", "").removeprefix("row 0: ")
            named = DataError(f"row_id {row_id}: {text}")
            named.row_id = row_id
            raise named from error


def _values(column: "pa.ChunkedArray[Any]") -> Sequence[Any]:
    if pa.types.is_struct(column.type):
        # Unlike `field`, this gives null where the whole struct is null.
        column = pc.struct_field(column, "bytes")
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        # A copy, for torch shares memory with arrays and warns of Arrow's, which are read-only.
        return cast("Sequence[Any]", np.array(column.to_numpy()))
    return column.to_pylist()
