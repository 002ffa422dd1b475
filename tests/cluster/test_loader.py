"""Rows by their ids, out of blocks; what of it needs no cluster."""

import numpy as np
import pyarrow as pa
import pytest

from aiplat.cluster import loader
from aiplat.datasets.versions import ROW_ID


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> loader.RowReader:
    """Seven rows in two blocks."""
    blocks = [pa.table({ROW_ID: np.arange(start, stop)}) for start, stop in ((0, 4), (4, 7))]
    monkeypatch.setattr("aiplat.cluster.loader.ray.get", lambda block: block)
    return loader.RowReader(loader.RowBlocks(refs=tuple(blocks), starts=(0, 4, 7)))


@pytest.mark.parametrize("row_ids", [[5, 0, 6, 3], [2], []])
def test_rows_come_in_the_order_asked_for(reader: loader.RowReader, row_ids: list[int]) -> None:
    rows = reader.take(np.array(row_ids, dtype=np.int64))
    assert rows.column(ROW_ID).to_pylist() == row_ids
