"""The record of the rows really trained on: files of row ids, from which anyone can count.

Written before every checkpoint from what the batches carried, not from what was planned; what no
checkpoint confirms is discarded when the run goes on. The last few epochs are kept.
"""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from aiplat.errors import DataError
from aiplat.store import files
from aiplat.training.checkpoint import writing
from aiplat.training.collective import broadcast_object, gather_objects

RowIds = np.ndarray[Any, np.dtype[np.int64]]

KEEP_EPOCHS = 3
_NAMED_ROWS = 10


def read_samples(run_dir: str, epoch: int) -> RowIds:
    """The ids of all rows trained on in an epoch, repeats and all.

    epoch: the first is 1; the last few are kept. Work that was rolled back after a crash is not in
    it. Rows are in the order of training from checkpoint to checkpoint, between them by rank.
    """
    folder = _epoch_folder(run_dir, epoch)
    parts = [_read(files.join(folder, name)) for name in files.list_files(folder)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


@dataclass
class SampleRecord:
    """Collects row ids on every rank; rank 0 writes them."""

    run_dir: str
    rank: int
    pending: list[Tensor] = field(default_factory=list)

    def add(self, row_ids: list[Tensor]) -> None:
        """Rows this rank trained on."""
        self.pending += row_ids

    def gathered(self) -> RowIds:
        """The rows that all ranks trained on since the last time; every rank calls it."""
        mine = [row_ids.numpy(force=True) for row_ids in self.pending]
        self.pending = []
        everyones = gather_objects(np.concatenate(mine) if mine else np.empty(0, dtype=np.int64))
        return np.concatenate(everyones)

    def write(self, epoch: int, step: int, row_ids: RowIds) -> None:
        """Write the rows gathered at `step`, before that step's checkpoint is complete.

        Raises CheckpointError.
        """
        if self.rank or not row_ids.size:
            return
        stream = io.BytesIO()
        np.save(stream, row_ids)
        uri = files.join(_epoch_folder(self.run_dir, epoch), f"step-{step:08d}.npy")
        with writing(uri):
            files.write_bytes(uri, stream.getvalue())

    def close_epoch(self, epoch: int, num_rows: int) -> None:
        """Check that the epoch trained on each row of the split once; forget old epochs.

        Raises DataError on every rank, naming the rows.
        """
        fault = None
        if self.rank == 0:
            fault = _fault(read_samples(self.run_dir, epoch), num_rows)
            for folder, old in self._epochs():
                if old <= epoch - KEEP_EPOCHS:
                    files.remove_folder(folder)
        fault = broadcast_object(fault)
        if fault:
            raise DataError(f"epoch {epoch} did not train on every row exactly once: {fault}")

    def discard_after(self, step: int) -> None:
        """Roll back to a checkpoint: forget what was trained on after it."""
        for folder, _ in self._epochs():
            files.remove_drafts(folder)
            for name in files.list_files(folder):
                if int(name.removeprefix("step-").removesuffix(".npy")) > step:
                    files.remove_file(files.join(folder, name))

    def _epochs(self) -> list[tuple[str, int]]:
        root = files.join(self.run_dir, "samples")
        names = files.list_folders(root)
        return [(files.join(root, name), int(name.removeprefix("epoch-"))) for name in names]


def _epoch_folder(run_dir: str, epoch: int) -> str:
    return files.join(run_dir, "samples", f"epoch-{epoch:04d}")


def _read(uri: str) -> RowIds:
    row_ids: RowIds = np.load(io.BytesIO(files.read_bytes(uri)), allow_pickle=False)
    return row_ids


def _fault(row_ids: RowIds, num_rows: int) -> str | None:
    """What is wrong with the rows of an epoch, in words."""
    # Row ids of a split are consecutive; counting them is quicker than sorting them.
    span = int(np.ptp(row_ids)) + 1 if row_ids.size else 0
    if row_ids.size == span == num_rows and np.bincount(row_ids - row_ids.min()).max() == 1:
        return None
    found, counts = np.unique(row_ids, return_counts=True)
    repeated, num_missing = found[counts > 1], num_rows - found.size
    if not repeated.size and not num_missing:
        return None
    faults = [f"{row_ids.size} rows were trained on, the split has {num_rows}"]
    if repeated.size:
        faults.append(f"repeated were row_id {_named(repeated)}")
    if num_missing > 0:
        candidates = np.arange(found[0], found[0] + num_rows) if found.size else found
        faults.append(f"left out were row_id {_named(np.setdiff1d(candidates, found))}")
    return "; ".join(faults)


def _named(row_ids: RowIds) -> str:
    more = ", ..." if row_ids.size > _NAMED_ROWS else ""
    return ", ".join(map(str, row_ids[:_NAMED_ROWS])) + more
