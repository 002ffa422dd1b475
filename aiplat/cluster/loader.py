"""The rows of a dataset version in Ray's object store, and any of them by id.

One task a shard reads it, once a run; the blocks stay in shared memory (spilled to disk where it is
short), encoded as they came, so that every worker of a node reads them without a copy and every
later epoch finds them there. Which rows make up which batch is not decided here but by
`aiplat.training.samples`: docs/decisions/0003 says why a streaming split cannot do it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.exceptions import RayTaskError

from aiplat.datasets.versions import ROW_ID, SPLITS, DatasetVersion
from aiplat.errors import DataError
from aiplat.store import files
from aiplat.training.samples import Positions

# Blocks one worker keeps mapped; a mapped block cannot be spilled.
_OPEN_BLOCKS = 256


@dataclass(frozen=True)
class RowBlocks:
    """References to the blocks that hold the rows of a dataset version, in order.

    starts: the row id of each block's first row, and at the end the number of rows.
    """

    refs: tuple[Any, ...]
    starts: tuple[int, ...]


def load_rows(version: DatasetVersion, columns: Sequence[str]) -> RowBlocks:
    """Begin to read columns of all splits into the object store; who wants a row waits for it.

    Whoever asks for rows of a shard that holds others than the manifest says gets a DataError.
    """
    shards = [
        (uri, shard.num_rows)
        for split in SPLITS
        if split in version.splits
        for uri, shard in zip(version.shard_uris(split), version.shards(split), strict=True)
        if shard.num_rows
    ]
    starts = tuple(accumulate((num_rows for _, num_rows in shards), initial=0))
    # Reads ask for no CPU, since workers may hold them all; each waits for an earlier one instead,
    # lest all begin at once.
    at_once = max(1, int(ray.cluster_resources().get("CPU", 1)))
    read = ray.remote(_read_shard).options(num_cpus=0, num_returns=2, scheduling_strategy="SPREAD")
    refs: list[Any] = []
    done: list[Any] = []
    for index, (uri, num_rows) in enumerate(shards):
        earlier = done[index - at_once] if index >= at_once else None
        ref, end = read.remote(uri, [ROW_ID, *columns], num_rows, earlier)
        refs.append(ref)
        done.append(end)
    return RowBlocks(refs=tuple(refs), starts=starts)


def _read_shard(
    uri: str,
    columns: list[str],
    num_rows: int,
    earlier: None,  # noqa: ARG001
) -> tuple[pa.Table, None]:
    """The columns of a shard. earlier: the end of another read, for which Ray makes this wait."""
    filesystem, path = files.opened(uri)
    table = pq.read_table(path, columns=columns, filesystem=filesystem)
    if table.num_rows != num_rows:
        raise DataError(
            f"{uri} holds {table.num_rows} rows, the manifest beside it says {num_rows}; remove "
            "this version of the dataset and ingest it anew"
        )
    # Rows are picked out of one piece far quicker than out of many.
    return table.combine_chunks(), None


class RowReader:
    """Rows by their ids, out of the object store of this worker's node."""

    def __init__(self, blocks: RowBlocks) -> None:
        self.starts = np.asarray(blocks.starts)
        self.block = lru_cache(maxsize=_OPEN_BLOCKS)(lambda index: _fetched(blocks.refs[index]))

    def take(self, row_ids: Positions) -> pa.Table:
        """The rows of these ids, in that order."""
        if not len(row_ids):
            return self.block(0).slice(0, 0)
        order = np.argsort(row_ids, kind="stable")
        wanted = row_ids[order]
        owners = np.searchsorted(self.starts, wanted, side="right") - 1
        parts = [
            self.block(int(owner)).take(wanted[owners == owner] - self.starts[owner])
            for owner in np.unique(owners)
        ]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        rows = pa.concat_tables(parts).take(back)
        found = rows.column(ROW_ID).to_numpy()
        if not np.array_equal(found, row_ids):
            wrong = int(np.argmax(found != row_ids))
            raise DataError(
                f"row {row_ids[wrong]} was asked for and row {found[wrong]} came: the shards are "
                "not in the order of their row ids; ingest the data anew"
            )
        return rows


def _fetched(ref: Any) -> pa.Table:
    try:
        table: pa.Table = ray.get(ref)
    except RayTaskError as error:
        # As itself: a fault of the data, not of the cluster.
        raise error.cause from None
    return table
