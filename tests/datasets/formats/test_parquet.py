import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aiplat.datasets import synthetic
from aiplat.datasets.formats.parquet import Parquet
from aiplat.errors import DataError
from tests.datasets.pictures import found, picture, put, rows_in

IMAGE = {"bytes": picture(1), "path": "1.png"}


def write(path: Path, columns: dict[str, Any], rows_a_group: int = 1000) -> str:
    pq.write_table(pa.table(columns), path, row_group_size=rows_a_group)
    return str(path)


@pytest.mark.parametrize(
    ("values", "path"),
    [([IMAGE], "1.png"), ([picture(1)], None), (["1.png"], "1.png")],
    ids=["struct", "bytes", "path"],
)
def test_images_may_be_structs_bytes_or_paths(
    tmp_path: Path, values: list[Any], path: str | None
) -> None:
    put(tmp_path, "1.png", picture(1))
    source = Parquet(path=write(tmp_path / "a.parquet", {"image": values, "label": ["cat"]}))
    assert rows_in(source) == [{"image": {"bytes": picture(1), "path": path}, "label": "cat"}]


def test_a_struct_without_bytes_is_read_from_its_path(tmp_path: Path) -> None:
    put(tmp_path, "1.png", picture(1))
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    image = pa.array([{"bytes": None, "path": "1.png"}], kind)
    source = Parquet(path=write(tmp_path / "a.parquet", {"image": image, "label": ["cat"]}))
    assert rows_in(source) == [{"image": IMAGE, "label": "cat"}]


def test_a_table_is_read_by_the_types_of_its_columns(tmp_path: Path) -> None:
    columns = {
        "age": [40, None, 41],
        "score": pa.array([1.5, float("nan"), 2.0], pa.float32()),
        "city": pa.array(["Rom", "Bern", None]).dictionary_encode(),
        "member": [True, False, None],
        "born": [datetime.date(2000, 1, 1)] * 3,
        "tags": [["a"], [], ["b"]],
        "row_id": [7, 8, 9],
        "target": [1, 0, 1],
    }
    source = Parquet(path=write(tmp_path / "a.parquet", columns))
    assert {column.name: column.kind for column in source.columns} == {
        "age": "number",
        "score": "number",
        "city": "category",
        "member": "category",
        "label": "label",
    }
    assert rows_in(source)[1] == {
        "age": None,
        "score": None,
        "city": "Bern",
        "member": "false",
        "label": "0",
    }
    assert {problem.detail.split(":")[0] for problem in source.findings()} == {
        "field 'born'",
        "field 'tags'",
        "field 'row_id'",
    }


def test_row_groups_are_blocks_and_rows_are_numbered_through_the_file(tmp_path: Path) -> None:
    columns = {"text": [f"text {n}" for n in range(25)], "label": ["a"] * 25}
    blocks = Parquet(path=write(tmp_path / "a.parquet", columns, rows_a_group=10)).blocks()
    origins = [block.read().origins for block in blocks]
    assert [len(names) for names in origins] == [10, 10, 5]
    assert [origin for names in origins for origin in names] == [
        f"a.parquet:{n}" for n in range(1, 26)
    ]
    chosen = blocks[1].read([9, 1])
    assert chosen.origins == ["a.parquet:20", "a.parquet:12"]
    assert chosen.table.column("text").to_pylist() == ["text 19", "text 11"]


def test_large_groups_of_image_paths_are_read_in_parts(tmp_path: Path) -> None:
    put(tmp_path, "1.png", picture(1))
    columns = {"image": ["1.png"] * 300, "label": ["a"] * 300}
    blocks = Parquet(path=write(tmp_path / "a.parquet", columns)).blocks()
    assert [block.read().table.num_rows for block in blocks] == [256, 44]


def test_class_indices_with_a_note_of_their_names_are_those_classes(tmp_path: Path) -> None:
    version = synthetic.short_reviews(30).write(str(tmp_path), "reviews", 3, 3)
    source = Parquet(path=version.uri)
    assert {row["label"] for row in rows_in(source)} == {"good", "bad"}
    splits = {split for block in source.blocks() for split in block.read().splits}
    assert splits == {"train", "val", "test"}


def test_files_with_other_columns_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"age": [1, 5], "label": ["x", "y"]})
    write(tmp_path / "b.parquet", {"label": ["x"]})
    source = Parquet(path=str(tmp_path))
    assert found(source.findings()) == {("wrong columns", "b.parquet")}
    assert len(rows_in(source)) == 2


def test_a_file_that_is_not_parquet_says_so(tmp_path: Path) -> None:
    put(tmp_path, "a.parquet", b"PAR1 no")
    with pytest.raises(DataError, match=r"a\.parquet is not a readable Parquet file"):
        _ = Parquet(path=str(tmp_path / "a.parquet")).columns
