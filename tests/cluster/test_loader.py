"""Rows by their ids, out of blocks."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from aiplat.cluster import loader
from aiplat.cluster.session import Session
from aiplat.datasets.synthetic import separable_table
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


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_little_is_read_as_the_cluster_reads_much(
    cluster: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = separable_table(400).write(str(tmp_path), "table", num_val=50, num_test=70)
    columns = [column.name for column in version.info.columns]
    little = loader.load_rows(version, columns)
    monkeypatch.setattr(loader, "_LITTLE_BYTES", 0)
    much = loader.load_rows(version, columns)
    row_ids = np.random.default_rng(0).permutation(400)
    (expected, found) = (loader.RowReader(blocks).take(row_ids) for blocks in (much, little))
    assert found.equals(expected)
    assert found.column(ROW_ID).to_pylist() == row_ids.tolist()
    assert little.starts[-1] == much.starts[-1] == 400
