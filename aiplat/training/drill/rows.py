"""Whether an epoch trained on every row once, counted from the rows themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aiplat.training.records import read_samples


@dataclass(frozen=True)
class EpochRows:
    """How often the rows of the split were trained on in one epoch.

    lost: rows of the split that were not. repeated: how many times too often, over all rows, those
    of no such split among them. kills: how often the epoch was cut.
    """

    epoch: int
    trained: int
    lost: int
    repeated: int
    kills: int = 0


def count_rows(run_dir: str, epoch: int, first_row_id: int, num_rows: int) -> EpochRows:
    """Compare what an epoch trained on with the split, whose row ids are consecutive."""
    row_ids = read_samples(run_dir, epoch)
    places = row_ids - first_row_id
    ours = places[(places >= 0) & (places < num_rows)]
    counts = np.bincount(ours, minlength=num_rows)
    num_once = int(np.count_nonzero(counts))
    return EpochRows(
        epoch, row_ids.size, lost=num_rows - num_once, repeated=row_ids.size - num_once
    )


class RowCounter:
    """Counts each epoch of a run while its record is still kept."""

    def __init__(self, run_dir: str, first_row_id: int, num_rows: int) -> None:
        self.run_dir = run_dir
        self.first_row_id, self.num_rows = first_row_id, num_rows
        self.counted: dict[int, EpochRows] = {}

    def reached(self, epoch: int) -> None:
        """The run trains in this epoch: what it may not go back to is counted."""
        self.counted = {past: rows for past, rows in self.counted.items() if past < epoch}
        # Falling back to an earlier checkpoint can lead into the epoch before.
        for past in range(max(self.counted, default=0) + 1, epoch - 1):
            self._count(past)

    def finish(self, num_epochs: int, cut: Sequence[int]) -> list[EpochRows]:
        """Every epoch of the run that has ended. cut: the epoch of each kill."""
        for epoch in range(max(self.counted, default=0) + 1, num_epochs + 1):
            self._count(epoch)
        return [
            replace(self.counted[epoch], kills=cut.count(epoch)) for epoch in sorted(self.counted)
        ]

    def _count(self, epoch: int) -> None:
        self.counted[epoch] = count_rows(self.run_dir, epoch, self.first_row_id, self.num_rows)
