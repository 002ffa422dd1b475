"""A split's rows in Ray's object store, and any of them by position.

Ray Data reads the shards in parallel, once a run; the blocks stay in shared memory (spilled to
disk where it is short), encoded as they came, so that every worker of a node reads them without a
copy and every later epoch finds them there. Which rows make up which batch is not decided here but by
`aiplat.training.samples`: docs/decisions/0003 says why a streaming split cannot do it.
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

from aiplat.datasets.versions import ROW_ID, DatasetVersion
from aiplat.errors import DataError
from aiplat.store import files
from aiplat.training.worker import Positions

# Blocks one worker keeps mapped; a mapped block cannot be spilled.
_OPEN_BLOCKS = 256


@dataclass(frozen=True)
class SplitBlocks:
    """References to the blocks of a split, in the order of their rows.

    starts: the position of each block's first row, and at the end the number of rows.
    first_row_id: row ids of a split are consecutive, from this one on.
    """

    refs: tuple[Any, ...]
    starts: tuple[int, ...]
    first_row_id: int

    @property
    def num_rows(self) -> int:
        """Rows of the split."""
        return self.starts[-1]


def load_split(version: DatasetVersion, split: str, columns: Sequence[str]) -> SplitBlocks:
    """Read a split into the object store.

    Raises DataError where the rows found are not those of the manifest.
    """
    filesystem, _ = files.opened(version.uri)
    paths = [files.opened(uri)[1] for uri in version.shard_uris(split)]
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    rows = ray.data.read_parquet(paths, filesystem=filesystem, columns=[ROW_ID, *columns])
    blocks = [
        (ref, metadata.num_rows)
        for bundle in rows.materialize().iter_internal_ref_bundles()
        for ref, metadata in bundle.blocks
        if metadata.num_rows
    ]
    starts = tuple(accumulate((num_rows for _, num_rows in blocks), initial=0))
    if starts[-1] != version.num_rows(split):
        raise DataError(
            f"dataset version {version.id}: split {split!r} has {starts[-1]} rows in its shards, "
            f"its manifest says {version.num_rows(split)}; remove {version.uri} and ingest it anew"
        )
    return SplitBlocks(
        refs=tuple(ref for ref, _ in blocks),
        starts=starts,
        first_row_id=version.first_row_id(split),
    )


class BlockReader:
    """Rows of a split by position, out of the object store of this worker's node."""

    def __init__(self, blocks: SplitBlocks) -> None:
        self.starts = np.asarray(blocks.starts)
        self.first_row_id = blocks.first_row_id
        self.block = lru_cache(maxsize=_OPEN_BLOCKS)(lambda index: ray.get(blocks.refs[index]))

    def take(self, positions: Positions) -> pa.Table:
        """The rows at `positions`, in that order."""
        order = np.argsort(positions, kind="stable")
        wanted = positions[order]
        owners = np.searchsorted(self.starts, wanted, side="right") - 1
        parts = [
            self.block(int(owner)).take(wanted[owners == owner] - self.starts[owner])
            for owner in np.unique(owners)
        ]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        rows = pa.concat_tables(parts).take(back)
        found = rows.column(ROW_ID).to_numpy()
        if not np.array_equal(found, positions + self.first_row_id):
            wrong = int(np.argmax(found != positions + self.first_row_id))
            raise DataError(
                f"row {positions[wrong] + self.first_row_id} was asked for and row {found[wrong]} "
                "came: the shards are not in the order of their row ids; ingest the data anew"
            )
        return rows
