"""Whole splits as tensors, for tasks whose rows cost more to take apart than to keep encoded."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import torch

from aiplat.tasks.rows import encode_rows
from aiplat.tasks.task import Batch, Task
from aiplat.training.samples import Positions

# Rows of tables are small; beyond this they are encoded batch by batch.
_MAX_BYTES = 256 << 20
_ROWS_AT_ONCE = 4096

Take = Callable[[Positions], pa.Table]


class EncodedSplits:
    """Encodes each split once, where the task says that a row is encoded alike in any batch."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.known: dict[str, Batch | None] = {}

    def batches(
        self, split: str, num_rows: int, take: Take, plan: Iterable[Positions]
    ) -> Iterator[Batch] | None:
        """The batches of a plan; None where the split is to be encoded batch by batch.

        take: the rows at these positions of the split.
        """
        if not getattr(self.task, "encodes_rows_alone", False) or not num_rows:
            return None
        if split not in self.known:
            self.known[split] = self._encoded(num_rows, take)
        rows = self.known[split]
        return None if rows is None else _picked(rows, plan)

    def _encoded(self, num_rows: int, take: Take) -> Batch | None:
        parts: list[Batch] = []
        for first in range(0, num_rows, _ROWS_AT_ONCE):
            positions = np.arange(first, min(first + _ROWS_AT_ONCE, num_rows))
            part = encode_rows(take(positions), self.task)
            if (
                sum(value.nbytes for value in part.values()) / len(positions) * num_rows
                > _MAX_BYTES
            ):
                return None
            parts.append(part)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _picked(rows: Batch, plan: Iterable[Positions]) -> Iterator[Batch]:
    for positions in plan:
        index = torch.from_numpy(np.asarray(positions, dtype=np.int64))
        yield {name: value[index] for name, value in rows.items()}
