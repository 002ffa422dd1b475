"""Where rows come from: sources list blocks, blocks read rows, rows carry what is wrong with them.

A source knows its files and nothing of versions, splits by hash or clusters.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from aiplat.datasets.shards import ARROW_TYPES
from aiplat.datasets.versions import Column
from aiplat.errors import DataError
from aiplat.store import files

ERROR, WARNING = "error", "warning"

# What people call the splits, and what we call them.
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)


@dataclass(frozen=True)
class Fault:
    """What is wrong with one row. kind: a fixed phrase to count by, such as `missing file`."""

    kind: str
    detail: str


@dataclass(frozen=True)
class Problem:
    """A fault and where it is: `origin` is a file, or a file and row as `pairs.jsonl:3`."""

    kind: str
    origin: str
    detail: str
    severity: str = ERROR


@dataclass(frozen=True)
class RawRow:
    """One row as read: a value for each column (None where it is missing or unfit)."""

    origin: str
    values: dict[str, Any]
    split: str | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Rows:
    """The rows of a block; the lists have one entry a row.

    table: the columns of the source, labels still as names.
    splits: `train`, `val`, `test`, or None where the source does not say.
    """

    table: pa.Table
    origins: list[str]
    splits: list[str | None]
    faults: list[tuple[Fault, ...]]


class Block(Protocol):
    """A small picklable unit of a source that reads its rows wherever it is sent."""

    def read(self, rows: Sequence[int] | None = None) -> Rows:
        """All rows in a fixed order, or those at the positions `rows`, in the order given."""
        ...


class Source(Protocol):
    """Named columns of rows, cut into blocks."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, each with its name and kind only."""
        ...

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The vocabulary where the source declares one; None means whatever the rows hold."""
        ...

    def blocks(self) -> list[Block]:
        """List the blocks: cheap, and the same on every call while the data is the same."""
        ...

    def findings(self) -> list[Problem]:
        """What listing alone shows, such as class folders without an image."""
        ...


def assemble(columns: Sequence[Column], rows: Iterable[RawRow]) -> Rows:
    """Put rows into columns."""
    listed = list(rows)
    schema = raw_schema(columns)
    arrays = [
        pa.array([row.values.get(field.name) for row in listed], field.type) for field in schema
    ]
    return Rows(
        table=pa.Table.from_arrays(arrays, schema=schema),
        origins=[row.origin for row in listed],
        splits=[row.split for row in listed],
        faults=[row.faults for row in listed],
    )


def raw_schema(columns: Sequence[Column]) -> pa.Schema:
    """The schema of a block's table: labels are names here and become indices in the shards."""
    return pa.schema(
        [
            (column.name, pa.string() if column.kind == "label" else ARROW_TYPES[column.kind])
            for column in columns
        ]
    )


@dataclass(frozen=True)
class TableBlock:
    """Rows that are in memory already, for sources that read one small file whole."""

    table: pa.Table
    origins: list[str] = field(repr=False)
    split: str | None = None

    def read(self, rows: Sequence[int] | None = None) -> Rows:
        """The rows asked for; see Block."""
        chosen = range(self.table.num_rows) if rows is None else rows
        return Rows(
            table=self.table if rows is None else self.table.take(pa.array(rows, pa.int64())),
            origins=[self.origins[row] for row in chosen],
            splits=[self.split] * len(chosen),
            faults=[()] * len(chosen),
        )


def existing(path: str, key: str = "source.path") -> Path:
    """The local file or folder at `path`; DataError names the configuration key."""
    if files.is_remote(path):
        raise DataError(f"{key}={path} is remote: copy or mount it where every node can read it")
    found = Path(path).expanduser().absolute()
    if not found.exists():
        raise DataError(f"{key}={path} does not exist (looked in {found})")
    return found


def shown(path: str) -> str:
    """A file name as text: readable where it is not UTF-8, and alike on every file system."""
    try:
        data = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Half a character, which JSON can write and no encoding can.
        data = path.encode("utf-8", "replace")
    return unicodedata.normalize("NFC", data.decode("utf-8", "replace"))
