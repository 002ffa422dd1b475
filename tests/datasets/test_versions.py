from pathlib import Path

import pytest

from aiplat.datasets.synthetic import separable_table
from aiplat.datasets.versions import ROW_ID, DatasetVersion
from aiplat.errors import DataError
from tests.fakes import damage


@pytest.fixture
def version(tmp_path: Path) -> DatasetVersion:
    return separable_table(60).write(str(tmp_path), "table", num_val=10, num_test=10)


def test_every_row_is_in_one_shard(version: DatasetVersion) -> None:
    for split in version.splits:
        (shard,) = version.shards(split)
        first = version.first_row_id(split)
        assert version.shard_of(first) == shard.path
        assert version.shard_of(first + shard.num_rows - 1) == shard.path
    num_rows = sum(version.num_rows(split) for split in version.splits)
    with pytest.raises(DataError, match=f"no row of row_id {num_rows}"):
        version.shard_of(num_rows)


def test_a_row_is_blamed_with_its_version_and_file(version: DatasetVersion) -> None:
    row_id = version.first_row_id("val")
    error = DataError(f"row_id {row_id}: column 'width': no")
    error.row_id = row_id
    (shard,) = version.shards("val")
    expected = f"dataset version {version.id}, file {shard.path}, row_id {row_id}: column 'width'"
    with pytest.raises(DataError, match=expected), version.blamed():
        raise error
    with pytest.raises(DataError, match=r"^of no row$"), version.blamed():
        raise DataError("of no row")


def test_a_damaged_shard_is_named(version: DatasetVersion) -> None:
    (shard,) = version.shards("train")
    damage(Path(version.uri, shard.path))
    expected = f"dataset version {version.id}, file {shard.path} is damaged"
    with pytest.raises(DataError, match=expected), version.reading():
        raise OSError("Corrupt snappy compressed data")
    Path(version.uri, shard.path).unlink()
    with pytest.raises(DataError, match=f"file {shard.path} cannot be read"), version.reading():
        list(version.read("train", [ROW_ID]))


def test_other_faults_of_reading_pass(version: DatasetVersion) -> None:
    with pytest.raises(OSError, match="the network is away"), version.reading():
        raise OSError("the network is away")
