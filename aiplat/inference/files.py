"""Files whose rows are to be answered: found, read and fitted to a model's inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from aiplat.datasets.formats.csv import Csv
from aiplat.datasets.formats.fields import AUTO
from aiplat.datasets.formats.imagefolder import ImageFolder
from aiplat.datasets.formats.jsonl import Jsonl
from aiplat.datasets.formats.parquet import Parquet
from aiplat.datasets.shards import ARROW_TYPES
from aiplat.datasets.source import IMAGE_SUFFIXES, Block, Source, existing
from aiplat.errors import DataError
from aiplat.inference.answers import ERROR
from aiplat.tasks.fields import InputField

ORIGIN = "origin"

_KEY = "input.path"
_RECORDS = (Jsonl, Csv, Parquet)
# A file that is to be answered needs no label.
_NO_FAULT = "missing label"


@dataclass(frozen=True)
class FileRows:
    """One block of a source, as a table of the model's inputs. Picklable.

    Beside the inputs it has `origin`, which names the file (and row), and `error` with what is
    wrong with the row.
    """

    block: Block
    inputs: tuple[InputField, ...]

    def read(self) -> pa.Table:
        """Read the block's files; an input that the source does not have is null in every row."""
        rows = self.block.read()
        count = rows.table.num_rows
        columns = {
            item.name: rows.table.column(item.name)
            if item.name in rows.table.column_names
            else pa.array([None] * count, ARROW_TYPES[item.kind])
            for item in self.inputs
        }
        errors = [
            "; ".join(
                f"{fault.kind}: {fault.detail}" for fault in faults if fault.kind != _NO_FAULT
            )
            or None
            for faults in rows.faults
        ]
        return pa.table(
            {**columns, ORIGIN: pa.array(rows.origins), ERROR: pa.array(errors, pa.string())}
        )


def file_rows(path: str, inputs: Sequence[InputField]) -> list[FileRows]:
    """The blocks of the images below a folder, or of the records of .jsonl, .csv or .parquet files.

    Raises DataError where there is nothing to read or a required input is not in it.
    """
    source = _source(existing(path, _KEY), inputs)
    has = [column.name for column in source.columns]
    lacking = [item.name for item in inputs if item.required and item.name not in has]
    if lacking:
        raise DataError(
            f"{_KEY}={path} has no {', '.join(lacking)}, which the model needs (it has: "
            f"{', '.join(name for name in has if name != 'label')}): give a .jsonl, .csv or "
            ".parquet file with fields of these names"
        )
    return [FileRows(block, tuple(inputs)) for block in source.blocks()]


def _source(path: Path, inputs: Sequence[InputField]) -> Source:
    suffixes = {path.suffix.lower()} if path.is_file() else _suffixes(path)
    for records in _RECORDS:
        if suffixes & set(records.suffixes):
            return records(path=str(path), **_record_fields(inputs))
    if path.is_dir() and suffixes & IMAGE_SUFFIXES:
        return ImageFolder(str(path))
    known = ", ".join(suffix for records in _RECORDS for suffix in records.suffixes)
    raise DataError(
        f"{_KEY}={path} holds nothing to answer (expected a folder of images, or {known} files)"
    )


def _suffixes(folder: Path) -> set[str]:
    return {file.suffix.lower() for file in folder.rglob("*") if file.is_file()}


def _record_fields(inputs: Sequence[InputField]) -> dict[str, Any]:
    """Which fields of a record are which inputs: by the input's name, or by a usual one."""
    usual = {item.name for item in inputs if item.name == item.kind}
    others = {item.name: item.kind for item in inputs if item.name not in usual}
    return {
        "image": AUTO if "image" in usual else None,
        "text": AUTO if "text" in usual else None,
        "label": None,
        "split": None,
        "fields": others or None,
        "allow_missing": not all(item.required for item in inputs),
    }
