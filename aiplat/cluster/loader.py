"""The rows of a dataset version in Ray's object store, and any of them by id.

Ray Data reads the shards in parallel, once a run, or the driver itself where they are small; the
blocks stay in shared memory (spilled to disk where it is short), encoded as they came, so that
every worker of a node reads them without a copy and every later epoch finds them there. Which rows
make up which batch is not decided here but by `aiplat.training.samples`: docs/decisions/0003 says
why a streaming split cannot do it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from pyarrow import fs

from aiplat.datasets.versions import ROW_ID, SPLITS, DatasetVersion
from aiplat.errors import DataError
from aiplat.store import files
from aiplat.training.worker import Positions

# Reading waits for storage more than it computes, and must find room beside workers that are sized
# to fill the cluster (see aiplat.cluster.group).
_CPUS_PER_READ = 0.25

# So little is read here before processes of the cluster have even started that would read it.
_LITTLE_BYTES = 32 << 20

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
    """Read columns of all splits into the object store.

    Raises DataError where the shards hold other rows than the manifest says, or are damaged.
    """
    filesystem, _ = files.opened(version.uri)
    splits = [split for split in SPLITS if split in version.splits]
    paths = [files.opened(uri)[1] for split in splits for uri in version.shard_uris(split)]
    wanted = [ROW_ID, *columns]
    with version.reading():
        num_bytes = sum(info.size or 0 for info in filesystem.get_file_info(paths))
        if num_bytes <= _LITTLE_BYTES:
            tables = (table for split in splits for table in version.read(split, wanted))
            blocks = [(ray.put(table), table.num_rows) for table in tables if table.num_rows]
        else:
            blocks = _read_in_parallel(paths, filesystem, wanted)
    starts = tuple(accumulate((num_rows for _, num_rows in blocks), initial=0))
    expected = sum(version.num_rows(split) for split in splits)
    if starts[-1] != expected:
        raise DataError(
            f"dataset version {version.id} has {starts[-1]} rows in its shards, its manifest says "
            f"{expected}; remove {version.uri} and ingest it anew"
        )
    return RowBlocks(refs=tuple(ref for ref, _ in blocks), starts=starts)


def _read_in_parallel(
    paths: list[str], filesystem: fs.FileSystem, columns: list[str]
) -> list[tuple[Any, int]]:
    """References to the blocks of Parquet files, with their numbers of rows."""
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    rows = ray.data.read_parquet(
        paths, filesystem=filesystem, columns=columns, num_cpus=_CPUS_PER_READ
    ).materialize()
    return [
        (entry.ref, entry.metadata.num_rows)
        for bundle in rows.iter_internal_ref_bundles()
        for entry in bundle.blocks
        if entry.metadata.num_rows
    ]


class RowReader:
    """Rows by their ids, out of the object store of this worker's node."""

    def __init__(self, blocks: RowBlocks) -> None:
        self.starts = np.asarray(blocks.starts)
        self.block = lru_cache(maxsize=_OPEN_BLOCKS)(lambda index: ray.get(blocks.refs[index]))

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
