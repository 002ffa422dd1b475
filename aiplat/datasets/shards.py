"""Parquet shards of a version: their schema, how rows are cut into them, and their writing."""

import hashlib
import io
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from aiplat.datasets.versions import IMAGE_TYPE, ROW_ID, Column, Shard
from aiplat.store import files

# Readers work a shard at a time, so even a small split is cut into some for them to share.
_SHARED_SHARDS = 8
_SMALL_SHARD_ROWS = 512
_GROUP_ROWS = 1024
_GROUP_BYTES = 16 << 20

ARROW_TYPES: dict[str, pa.DataType] = {
    "image": IMAGE_TYPE,
    "text": pa.string(),
    "label": pa.int64(),
    "number": pa.float64(),
    "category": pa.string(),
}


def _feature(column: Column, labels: Sequence[str]) -> dict[str, Any]:
    if column.kind == "image":
        return {"_type": "Image"}
    if column.kind == "label":
        return {"_type": "ClassLabel", "names": list(labels)}
    return {"_type": "Value", "dtype": str(ARROW_TYPES[column.kind]).replace("double", "float64")}


def arrow_schema(columns: Sequence[Column], labels: Sequence[str]) -> pa.Schema:
    """The schema of a shard, with the note by which Hugging Face `datasets` knows its features."""
    fields: list[pa.Field[Any]] = [pa.field(ROW_ID, pa.int64())]
    fields += [pa.field(column.name, ARROW_TYPES[column.kind]) for column in columns]
    features: dict[str, Any] = {ROW_ID: {"_type": "Value", "dtype": "int64"}}
    features |= {column.name: _feature(column, labels) for column in columns}
    note = json.dumps({"info": {"features": features}}, ensure_ascii=False)
    return pa.schema(fields, metadata={"huggingface": note})


def cut(row_bytes: npt.NDArray[np.int64], shard_bytes: int) -> list[tuple[int, int]]:
    """Cut the rows of a split into runs `[start, stop)` of about equal bytes, one a shard."""
    num_rows = len(row_bytes)
    by_size = -(-int(row_bytes.sum()) // shard_bytes)
    by_rows = min(_SHARED_SHARDS, -(-num_rows // _SMALL_SHARD_ROWS))
    num_shards = min(num_rows, max(by_size, by_rows, 1))
    ends = np.cumsum(row_bytes)
    goals = ends[-1] * np.arange(1, num_shards) / num_shards
    inner = np.searchsorted(ends, goals, side="left") + 1
    edges = np.unique(np.concatenate([[0], np.minimum(inner, num_rows), [num_rows]]))
    return [(int(start), int(stop)) for start, stop in pairwise(edges)]


def shard_name(split: str, index: int) -> str:
    """The file name of the `index`-th shard of a split."""
    return f"{split}-{index:05d}.parquet"


def write_shard(folder: str, name: str, table: pa.Table) -> Shard:
    """Write `table` as the shard `name` of `folder`; the same rows always make the same file."""
    row_bytes = max(1, table.nbytes // max(1, table.num_rows))
    buffer = io.BytesIO()
    images = {field.name for field in table.schema if field.type == IMAGE_TYPE}
    pq.write_table(
        table,
        buffer,
        row_group_size=max(1, min(_GROUP_ROWS, _GROUP_BYTES // row_bytes)),
        # Image files are compressed already.
        compression={
            path: "none" if path in {f"{image}.bytes" for image in images} else "zstd"
            for path in _leaf_paths(table.schema)
        },
        write_statistics=[ROW_ID],
    )
    data = buffer.getvalue()
    files.write_bytes(files.join(folder, name), data)
    return Shard(path=name, num_rows=table.num_rows, sha256=hashlib.sha256(data).hexdigest())


def _leaf_paths(schema: pa.Schema) -> list[str]:
    paths = []
    for field in schema:
        paths += (
            [f"{field.name}.bytes", f"{field.name}.path"]
            if field.type == IMAGE_TYPE
            else [field.name]
        )
    return paths
