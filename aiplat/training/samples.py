"""Which rows make up which step: pure functions of seed, epoch and what was trained on already.

Every row of a split is dealt exactly once an epoch, to however many ranks there are. Knows
positions within a split, no torch, no files and no processes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiplat.errors import DataError

# The row positions within a split: 0-based, in shard order.
Positions = np.ndarray[Any, np.dtype[np.int64]]

# Splits up to this size are shuffled as a whole, larger ones window by window, so that a loader
# reads rows that lie together and still no two epochs are alike.
WINDOW_ROWS = 1 << 17


@dataclass(frozen=True)
class StepPlan:
    """One optimizer step: the rows of all ranks together, and this rank's share, by micro-batch.

    Every rank has equally many micro-batches; some may be empty. is_skipped: the rows count as
    trained on, and the model does not see them.
    """

    positions: Positions
    micro_batches: tuple[Positions, ...]
    is_skipped: bool = False


def epoch_order(
    num_rows: int, seed: int, epoch: int, shuffle: bool = True, window_rows: int = WINDOW_ROWS
) -> Positions:
    """All positions of a split in the order in which the epoch takes them."""
    if not shuffle:
        return np.arange(num_rows, dtype=np.int64)
    generator = np.random.default_rng([seed, epoch])
    starts = np.arange(0, num_rows, window_rows)
    windows = [
        start + generator.permutation(min(window_rows, num_rows - start))
        for start in generator.permutation(starts)
    ]
    return np.concatenate(windows).astype(np.int64, copy=False) if windows else starts


class Ledger:
    """Which positions of a split were trained on in the current epoch."""

    def __init__(self, num_rows: int) -> None:
        self.trained = np.zeros(num_rows, dtype=bool)
        self.num_trained = 0

    @property
    def is_complete(self) -> bool:
        """Whether every row has had its turn."""
        return self.num_trained == len(self.trained)

    def mark(self, positions: Positions) -> None:
        """Note that these rows were trained on; DataError where one of them was before."""
        again = positions[self.trained[positions]]
        if again.size:
            named = ", ".join(map(str, again[:10]))
            raise DataError(
                f"rows would be trained on twice in one epoch: positions {named} of the split"
            )
        self.trained[positions] = True
        self.num_trained += len(positions)

    def remaining(self, order: Positions) -> Positions:
        """What of `order` is still to be trained on, in that order."""
        return order[~self.trained[order]]

    def clear(self) -> None:
        """Begin an epoch."""
        self.trained[:] = False
        self.num_trained = 0

    def packed(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """One bit a row."""
        return np.packbits(self.trained)

    @classmethod
    def unpacked(cls, bits: np.ndarray[Any, np.dtype[np.uint8]], num_rows: int) -> "Ledger":
        """The ledger that `packed` was taken of."""
        ledger = cls(num_rows)
        ledger.mark(np.flatnonzero(np.unpackbits(bits, count=num_rows)))
        return ledger


def global_batches(remaining: Positions, batch_size: int) -> Iterator[Positions]:
    """Cut into batches of all ranks together.

    The last two share their rows evenly: a batch of one or two rows would make a noisy step, break
    batch normalisation and leave ranks idle. Cutting the rest after some batches were trained on
    gives the same batches.
    """
    while remaining.size:
        size = batch_size
        if batch_size < remaining.size <= 2 * batch_size:
            size = (remaining.size + 1) // 2
        yield remaining[:size]
        remaining = remaining[size:]


def num_batches(num_rows: int, batch_size: int) -> int:
    """How many batches `global_batches` cuts."""
    return -(-num_rows // batch_size)


def share(positions: Positions, part: int, num_parts: int) -> Positions:
    """One of `num_parts` contiguous slices whose sizes differ by one row at most."""
    least, larger = divmod(positions.size, num_parts)
    start = part * least + min(part, larger)
    return positions[start : start + least + (part < larger)]


def plan_steps(
    remaining: Positions, batch_size: int, accumulate: int, rank: int, world_size: int
) -> Iterator[StepPlan]:
    """The steps of the rest of an epoch as `rank` takes part in them."""
    for positions in global_batches(remaining, batch_size):
        mine = share(positions, rank, world_size)
        parts = tuple(share(mine, part, accumulate) for part in range(accumulate))
        yield StepPlan(positions, parts)
