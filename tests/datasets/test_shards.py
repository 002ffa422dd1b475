from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from aiplat.datasets import shards, synthetic


def test_small_splits_are_one_shard_and_larger_ones_several() -> None:
    assert shards.cut(np.full(100, 10), 1 << 20) == [(0, 100)]
    assert len(shards.cut(np.full(10_000, 10), 1 << 20)) == 8
    assert len(shards.cut(np.full(1000, 10), 500)) == 20


@pytest.mark.parametrize("seed", range(5))
def test_every_row_is_in_exactly_one_shard_of_about_the_size_asked_for(seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(1, 1000, 500)
    cuts = shards.cut(sizes, 10_000)
    assert [row for start, stop in cuts for row in range(start, stop)] == list(range(500))
    assert max(sizes[start:stop].sum() for start, stop in cuts) < 12_000


def test_a_row_larger_than_a_shard_has_one_of_its_own_size() -> None:
    assert shards.cut(np.array([10_000, 1, 1]), 100) == [(0, 1), (1, 3)]


def test_the_same_rows_make_the_same_file_with_readable_groups(tmp_path: Path) -> None:
    table = synthetic.short_reviews(3000).table
    first = shards.write_shard(str(tmp_path), "a.parquet", table)
    second = shards.write_shard(str(tmp_path), "b.parquet", table)
    assert first.sha256 == second.sha256
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3
    assert pq.read_table(tmp_path / "a.parquet").equals(table)
