from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from aiplat.datasets.versions import IMAGE_TYPE
from aiplat.errors import DataError
from aiplat.tasks.columns import misfit
from aiplat.tasks.rows import encode_rows, rows_of
from aiplat.tasks.task import Batch, Rows
from tests.fakes import TinyTask, blobs


def test_columns_come_as_tasks_take_them() -> None:
    table = pa.table(
        {
            "image": pa.array(
                [{"bytes": b"\xff\xd8", "path": "a.jpg"}, None, {"bytes": None, "path": "c.jpg"}],
                type=IMAGE_TYPE,
            ),
            "text": ["a cat", None, ""],
            "age": pa.array([1.5, None, 3.0]),
            "rooms": pa.array([1, None, 3], type=pa.int32()),
            "label": pa.array([0, 1, 2]),
        }
    )
    rows = rows_of(pa.concat_tables([table.slice(0, 1), table.slice(1, 2)]))
    assert rows["image"] == [b"\xff\xd8", None, None]
    assert rows["text"] == ["a cat", None, ""]
    for name in ("age", "rooms"):
        assert np.isnan(rows[name][1])
        assert rows[name][2] == 3
    assert list(rows["label"]) == [0, 1, 2]
    assert torch.as_tensor(rows["label"]).dtype == torch.int64


def test_a_batch_carries_the_ids_of_its_rows() -> None:
    table = blobs(10, first_row_id=100).take([7, 2, 2])
    batch = encode_rows(table, TinyTask())
    assert batch["row_id"].tolist() == [107, 102, 102]
    assert batch["label"].tolist() == table.column("label").to_pylist()
    augmented = encode_rows(table, TinyTask(), augment=True)
    assert torch.allclose(augmented["point"], batch["point"] + 0.01)


def test_no_rows_make_a_batch_of_no_ids() -> None:
    batch = encode_rows(blobs(10).slice(0, 0), TinyTask())
    assert list(batch) == ["row_id"]
    assert batch["row_id"].shape == (0,)


class PickyTask(TinyTask):
    """Takes no point whose x is 7."""

    def encode(self, rows: Rows, augment: bool = False) -> Batch:
        for row, value in enumerate(rows["x"]):
            if value == 7:
                raise misfit("x", row, "anything but 7", value)
        return super().encode(rows, augment)


def test_a_row_that_cannot_be_encoded_is_named_by_its_id() -> None:
    table = blobs(10, first_row_id=100)
    values: list[Any] = table.column("x").to_pylist()
    values[3] = 7.0
    table = table.set_column(1, "x", pa.array(values)).take([5, 3, 4])
    with pytest.raises(DataError) as caught:
        encode_rows(table, PickyTask())
    assert str(caught.value) == (
        "row_id 103: column 'x': expected anything but 7, got np.float64(7.0) (float64)"
    )
    assert caught.value.row_id == 103
