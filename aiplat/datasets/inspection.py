"""The first pass over a block: decode every image, hash every row, note every fault.

Pure functions from a block to a small table; the payload stays where it was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aiplat.datasets.digests import DIGEST_BYTES, row_digests
from aiplat.datasets.images import image_fault
from aiplat.datasets.source import Block, Fault, Rows, shown
from aiplat.datasets.versions import Column

_DIGEST = pa.binary(DIGEST_BYTES)
_FAULT = pa.struct([("kind", pa.string()), ("detail", pa.string())])
_FIELDS: dict[str, pa.DataType] = {
    "block": pa.int64(),
    "row": pa.int64(),
    "origin": pa.string(),
    "split": pa.string(),
    "label": pa.string(),
    "content": _DIGEST,
    "group": _DIGEST,
    "digest": _DIGEST,
    "num_bytes": pa.int64(),
    "faults": pa.list_(_FAULT),
}
INSPECTED = pa.schema(_FIELDS)


@dataclass(frozen=True)
class Inspect:
    """What to inspect: the `index`-th block of a source with these columns."""

    index: int
    block: Block
    columns: tuple[Column, ...]


def inspect(work: Inspect) -> pa.Table:
    """One row of INSPECTED for each row of the block."""
    rows = work.block.read()
    names = row_labels(rows.table, work.columns)
    digests = row_digests(rows.table, work.columns, names)
    num_rows = rows.table.num_rows
    faults = [
        [{"kind": fault.kind, "detail": shown(fault.detail)} for fault in (*known, *seen)]
        for known, seen in zip(rows.faults, _image_faults(rows, work.columns), strict=True)
    ]
    values = {
        "block": [work.index] * num_rows,
        "row": range(num_rows),
        "origin": rows.origins,
        "split": rows.splits,
        "label": names,
        "content": digests.content,
        "group": digests.group,
        "digest": digests.row,
        "num_bytes": _row_bytes(rows.table),
        "faults": faults,
    }
    arrays = [pa.array(values[field.name], field.type) for field in INSPECTED]
    return pa.Table.from_arrays(arrays, schema=INSPECTED)


def row_labels(table: pa.Table, columns: Sequence[Column]) -> list[str | None]:
    """The class name of each row of a block's table; None where there is no label column."""
    for column in columns:
        if column.kind == "label":
            names: list[Any] = table.column(column.name).to_pylist()
            return names
    return [None] * table.num_rows


def _image_faults(rows: Rows, columns: Sequence[Column]) -> list[list[Fault]]:
    faults: list[list[Fault]] = [[] for _ in rows.origins]
    # Rows often share an image (many questions about one picture): each is decoded once.
    known: dict[bytes, Fault | None] = {}
    for column in columns:
        if column.kind != "image":
            continue
        images: list[Any] = rows.table.column(column.name).to_pylist()
        for image, origin, found in zip(images, rows.origins, faults, strict=True):
            if image is None:
                continue
            data = image["bytes"]
            if data not in known:
                known[data] = image_fault(data)
            if fault := known[data]:
                path = image["path"]
                where = "" if path in (None, origin) else f"{path}: "
                found.append(Fault(fault.kind, f"{where}{fault.detail}"))
    return faults


def _row_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    total = np.full(table.num_rows, 8 * table.num_columns, dtype=np.int64)
    for column in table.columns:
        values: Any = column.combine_chunks()
        if pa.types.is_struct(values.type):
            values = values.field("bytes")
        if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
            total += pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False)
    return total
