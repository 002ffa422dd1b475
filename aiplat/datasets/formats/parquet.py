"""Parquet files: tables, and images as bytes, as `struct<bytes, path>` or as paths of files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from aiplat.datasets.formats.fields import Sample
from aiplat.datasets.formats.records import SAMPLE_ROWS, Piece, Record, RecordSource
from aiplat.errors import DataError

_PIECE_ROWS = 1 << 17
_PIECE_BYTES = 256 << 20


@dataclass(frozen=True)
class GroupRows:
    """`count` rows of a row group from its `start`-th on; the first one is row `first` of the file.

    names: for columns of class indices, as Hugging Face `datasets` writes them, the class names.
    """

    path: str
    columns: tuple[str, ...]
    group: int
    start: int
    count: int
    first: int
    names: Mapping[str, Sequence[str]]

    def records(self, rows: Sequence[int] | None) -> Iterator[Record]:
        """Read the row group; see Piece."""
        with pq.ParquetFile(self.path) as file:
            table = file.read_row_group(self.group, columns=list(self.columns))
        table = table.slice(self.start, self.count)
        numbers = range(table.num_rows) if rows is None else rows
        if rows is not None:
            table = table.take(pa.array(rows, pa.int64()))
        for number, values in zip(numbers, table.to_pylist(), strict=True):
            yield Record(self.first + number, self._named(values))

    def _named(self, values: dict[str, Any]) -> dict[str, Any]:
        for column, names in self.names.items():
            index = values.get(column)
            if index is not None and 0 <= index < len(names):
                values[column] = names[index]
        return values


@dataclass(kw_only=True)
class Parquet(RecordSource):
    """Rows of Parquet files; without an image column, all columns are used by their type.

    See RecordSource and FieldChoice for the arguments.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def names(self, path: Path) -> list[str]:
        """The columns of the file; see RecordSource."""
        return list(_opened(path).schema_arrow.names)

    def sample(self, path: Path) -> Sample:
        """The first rows; of columns that may hold images only the first one."""
        with _opened(path) as file:
            schema = file.schema_arrow
            batch = next(file.iter_batches(SAMPLE_ROWS, columns=_light(schema)), None)
            first = next(file.iter_batches(1, columns=_heavy(schema)), None)
        light: dict[str, list[Any]] = {} if batch is None else batch.to_pydict()
        heavy: dict[str, list[Any]] = {} if first is None else first.to_pydict()
        return {name: (light | heavy).get(name, []) for name in schema.names}

    def pieces(self, path: Path, num_rows: int | None) -> Iterator[Piece]:
        """Row groups, in parts where they are large; see RecordSource."""
        most = num_rows or _PIECE_ROWS
        columns = tuple(self._fields.used)
        with _opened(path) as file:
            names = _class_names(file.schema_arrow, columns)
            first = 1
            for group in range(file.num_row_groups):
                metadata = file.metadata.row_group(group)
                count = metadata.num_rows
                by_size = max(1, count * _PIECE_BYTES // max(1, metadata.total_byte_size))
                step = min(most, by_size)
                for start in range(0, count, step):
                    part = min(step, count - start)
                    yield GroupRows(str(path), columns, group, start, part, first + start, names)
                first += count


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error


def _is_heavy(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _heavy(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if _is_heavy(field.type)]


def _light(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if not _is_heavy(field.type)]


def _class_names(schema: pa.Schema, columns: Sequence[str]) -> dict[str, list[str]]:
    """The class names that Hugging Face `datasets` noted for columns of class indices."""
    note = (schema.metadata or {}).get(b"huggingface")
    if note is None:
        return {}
    features = json.loads(note).get("info", {}).get("features", {})
    names = {column: features.get(column, {}).get("names") for column in columns}
    return {column: found for column, found in names.items() if found}
