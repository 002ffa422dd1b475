"""Predictors of small exported models, and images for them."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from aiplat.datasets.synthetic import separable_table
from aiplat.datasets.versions import DatasetVersion
from aiplat.inference.predictor import Predictor
from tests.exported import color_folder, table_folder

MakeImage = Callable[[str], bytes]


@pytest.fixture
def colors(tmp_path: Path) -> Predictor:
    return Predictor.open(color_folder(tmp_path / "colors"))


@pytest.fixture
def table(tmp_path: Path) -> DatasetVersion:
    return separable_table(80).write(str(tmp_path / "storage"), "table", num_val=20, num_test=30)


@pytest.fixture
def rows_model(tmp_path: Path, table: DatasetVersion) -> Predictor:
    return Predictor.open(table_folder(tmp_path / "rows", table.info))


@pytest.fixture
def image() -> MakeImage:
    def make(color: str) -> bytes:
        data = io.BytesIO()
        Image.new("RGB", (12, 10), color).save(data, "PNG")
        return data.getvalue()

    return make
