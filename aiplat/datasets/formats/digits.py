"""Handwritten digits (scikit-learn): 1,797 pictures of 8 by 8 pixels, as 64 numbers each."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from aiplat.datasets.formats.installed import package
from aiplat.datasets.source import Block, Problem, TableBlock, raw_schema
from aiplat.datasets.versions import Column

_PIXELS = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
_COLUMNS = (*(Column(name, "number") for name in _PIXELS), Column("label", "label"))
_LABELS = tuple("0123456789")


@dataclass
class Digits:
    """Each pixel a number from 0 to 16; small enough to train on in seconds."""

    columns: tuple[Column, ...] = field(default=_COLUMNS, init=False)
    labels: tuple[str, ...] | None = field(default=_LABELS, init=False)

    def blocks(self) -> list[Block]:
        """All of them, in the order of the package; see Source."""
        package("sklearn")
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = np.asarray(digits.data, dtype=np.float64)
        values = {name: pixels[:, index] for index, name in enumerate(_PIXELS)}
        labels = [_LABELS[label] for label in digits.target]
        table = pa.table({**values, "label": labels}, schema=raw_schema(_COLUMNS))
        return [TableBlock(table, [f"digits:{row + 1}" for row in range(table.num_rows)])]

    def findings(self) -> list[Problem]:
        """Nothing; see Source."""
        return []
