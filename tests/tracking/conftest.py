"""A storage root with a tracking database, a run to record and a dataset version it reads."""

from pathlib import Path

import pytest

from aiplat.datasets.versions import Column, DatasetInfo, DatasetVersion, Shard
from aiplat.tracking.tracker import RunRecord
from tests.stores import storage_with_database


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return storage_with_database(tmp_path / "my storage")


@pytest.fixture
def run() -> RunRecord:
    return RunRecord("clip", params={"loop.max_epochs": "3"}, tags={"commit": "abc"})


@pytest.fixture
def version() -> DatasetVersion:
    return DatasetVersion(
        name="shapes",
        version="0123456789abcdef",
        uri="file:///data/shapes",
        info=DatasetInfo(
            (Column("image", "image"), Column("label", "label")), ("circle", "square")
        ),
        splits={"train": (Shard("train-00000.parquet", 7, "00"),)},
    )
