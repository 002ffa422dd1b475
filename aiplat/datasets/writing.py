"""The second pass: plan the shards of the rows that were kept, read each anew and write it."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from aiplat.datasets import shards, statistics
from aiplat.datasets.checks import Selection
from aiplat.datasets.digests import row_digests
from aiplat.datasets.inspection import row_labels
from aiplat.datasets.source import Block
from aiplat.datasets.statistics import Statistics
from aiplat.datasets.versions import Column, Shard
from aiplat.errors import DataError


@dataclass(frozen=True)
class WriteShard:
    """One shard to write: which rows of which blocks, and the hash their content must have."""

    folder: str
    name: str
    split: str
    first_row_id: int
    parts: tuple[tuple[Block, list[int]], ...]
    columns: tuple[Column, ...]
    labels: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class WrittenShard:
    """A shard and the statistics of its rows."""

    split: str
    shard: Shard
    statistics: Statistics


@dataclass(frozen=True)
class Layout:
    """What all shards of a version have in common."""

    folder: str
    columns: tuple[Column, ...]
    labels: tuple[str, ...]
    shard_bytes: int


def plan(
    layout: Layout, blocks: Sequence[Block], inspected: pa.Table, selection: Selection
) -> list[WriteShard]:
    """Number the kept rows split by split and cut them into shards."""
    work, first = [], 0
    for split, positions in selection.rows.items():
        rows = inspected.select(["block", "row", "digest", "num_bytes"]).take(
            pa.array(positions, pa.int64())
        )
        cuts = shards.cut(rows.column("num_bytes").to_numpy(), layout.shard_bytes)
        for index, (start, stop) in enumerate(cuts):
            piece = rows.slice(start, stop - start)
            work.append(
                WriteShard(
                    folder=layout.folder,
                    name=shards.shard_name(split, index),
                    split=split,
                    first_row_id=first + start,
                    parts=tuple(_parts(piece, blocks)),
                    columns=layout.columns,
                    labels=layout.labels,
                    digest=_joined(piece.column("digest").to_pylist()),
                )
            )
        first += len(positions)
    return work


def _parts(rows: pa.Table, blocks: Sequence[Block]) -> Iterator[tuple[Block, list[int]]]:
    places = zip(rows.column("block").to_pylist(), rows.column("row").to_pylist(), strict=True)
    for block, members in groupby(places, key=lambda place: place[0]):
        yield blocks[block or 0], [row or 0 for _, row in members]


def _joined(digests: Sequence[bytes | None]) -> str:
    return hashlib.sha256(b"".join(digest or b"" for digest in digests)).hexdigest()


def write(work: WriteShard) -> WrittenShard:
    """Read the rows of a shard from their source and write it.

    Raises DataError where they are no longer what was inspected.
    """
    read = [block.read(rows) for block, rows in work.parts]
    table = pa.concat_tables([rows.table for rows in read])
    names = row_labels(table, work.columns)
    if _joined(row_digests(table, work.columns, names).row) != work.digest:
        raise DataError(
            f"the source changed while it was ingested: rows between {read[0].origins[0]} and"
            f" {read[-1].origins[-1]} are not what they were; run the ingest again"
        )
    finished = _finished(table, names, work)
    return WrittenShard(
        split=work.split,
        shard=shards.write_shard(work.folder, work.name, finished),
        # What models normalise by must come from the training rows alone.
        statistics=statistics.measure(finished, work.columns)
        if work.split == "train"
        else Statistics(),
    )


def _finished(table: pa.Table, names: Sequence[str | None], work: WriteShard) -> pa.Table:
    """Row ids in front, and class indices in place of names."""
    index = {label: position for position, label in enumerate(work.labels)}
    schema = shards.arrow_schema(work.columns, work.labels)
    last = work.first_row_id + table.num_rows
    arrays: list[Any] = [pa.array(np.arange(work.first_row_id, last))]
    for column in work.columns:
        if column.kind == "label":
            arrays.append(pa.array([index[name or ""] for name in names], pa.int64()))
        else:
            arrays.append(table.column(column.name))
    return pa.Table.from_arrays(arrays, schema=schema)
