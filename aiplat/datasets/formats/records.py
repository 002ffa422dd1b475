"""Sources whose rows are records with named fields, whatever file format holds them."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from aiplat.datasets.formats.fields import FieldChoice, Fields, Sample, find_fields
from aiplat.datasets.formats.values import UnfitError, convert
from aiplat.datasets.source import (
    SPLIT_WORDS,
    WARNING,
    Block,
    Fault,
    Problem,
    RawRow,
    Rows,
    assemble,
    existing,
    shown,
)
from aiplat.datasets.versions import Column
from aiplat.errors import DataError

SAMPLE_ROWS = 1000
# Rows that name an image file are few to a block, for the block holds the images.
IMAGE_ROWS = 256
_SPLIT = re.compile(rf"({'|'.join(SPLIT_WORDS)})(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Record:
    """One record as its format reads it; `number` is the row as an editor numbers it."""

    number: int
    values: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


class Piece(Protocol):
    """A part of one file; picklable."""

    def records(self, rows: Sequence[int] | None) -> Iterator[Record]:
        """All records in order, or those at the positions `rows`."""
        ...


@dataclass(frozen=True)
class Reading:
    """How the records of a source become rows."""

    fields: Fields
    image_root: str
    allow_missing: bool


@dataclass(frozen=True)
class RecordBlock:
    """The rows of one piece of a file."""

    piece: Piece
    file: str
    split: str | None
    reading: Reading

    def read(self, rows: Sequence[int] | None = None) -> Rows:
        """The rows asked for; see Block."""
        columns = self.reading.fields.columns
        return assemble(columns, map(self._row, self.piece.records(rows)))

    def _row(self, record: Record) -> RawRow:
        origin = f"{self.file}:{record.number}"
        if record.faults:
            return RawRow(origin, {}, self.split, record.faults)
        values: dict[str, Any] = {}
        faults: list[Fault] = []
        for column in self.reading.fields.columns:
            try:
                values[column.name] = self._value(column, record.values)
            except UnfitError as error:
                faults.append(error.fault)
        if not faults:
            faults += self._missing(values)
        split = self.split
        if self.reading.fields.split:
            split, unknown = _split(record.values.get(self.reading.fields.split), split)
            faults += unknown
        return RawRow(origin, values, split, tuple(faults))

    def _value(self, column: Column, record: Mapping[str, Any]) -> Any:
        name = self.reading.fields.names[column.name]
        if name not in record and not self.reading.allow_missing:
            listed = ", ".join(record) or "none"
            raise UnfitError("missing column", f"the row has no field {name!r} (it has: {listed})")
        return convert(column.kind, name, record.get(name), self.reading.image_root)

    def _missing(self, values: Mapping[str, Any]) -> list[Fault]:
        fields = self.reading.fields
        faults = []
        inputs = [column.name for column in fields.columns if column.kind in ("image", "text")]
        absent = [name for name in inputs if values[name] is None]
        if absent and not (self.reading.allow_missing and len(absent) < len(inputs)):
            names = " and ".join(repr(fields.names[name]) for name in absent)
            faults.append(Fault("missing value", f"field {names} has no value"))
        if "label" in fields.names and values["label"] is None:
            faults.append(Fault("missing label", f"field {fields.names['label']!r} has no value"))
        return faults


def _split(value: Any, default: str | None) -> tuple[str | None, list[Fault]]:
    if value is None or value == "":
        return default, []
    word = SPLIT_WORDS.get(str(value).lower())
    if word is None:
        return None, [Fault("unknown split", f"split {value!r} is not one of: train, val, test")]
    return word, []


@dataclass(kw_only=True)
class RecordSource(FieldChoice, ABC):
    """Records of a file, or of all files of the format below a folder, sorted by name.

    If every file of a folder lies in a folder, or has a name that begins, with the word for a
    split (`train-0.csv`, `val/a.csv`), the rows belong to it.

    labels: the vocabulary; rows with another label are errors. null: the labels there are.
    image_root: the folder that image paths are relative to; null: where the file or folder lies.
    allow_missing: rows may lack some, though not all, of their images and texts.
    """

    path: str
    labels: tuple[str, ...] | None = None
    image_root: str | None = None
    allow_missing: bool = False
    suffixes: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        super().__post_init__()
        root = existing(self.path)
        self._files = _files(root, self.suffixes) if root.is_dir() else [root]
        self._folder = root if root.is_dir() else root.parent
        if not self._files:
            listed = " ".join(self.suffixes)
            raise DataError(f"source.path={self.path} holds no {listed} file at any depth")

    def names(self, path: Path) -> list[str] | None:  # noqa: ARG002 - for those that have a header
        """The fields that every record of the file has; None where each has its own."""
        return None

    @abstractmethod
    def sample(self, path: Path) -> Sample:
        """The first SAMPLE_ROWS records of the file, by field."""

    @abstractmethod
    def pieces(self, path: Path, num_rows: int | None) -> Iterable[Piece]:
        """The file cut into pieces, of at most `num_rows` rows where that is given."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that were found; see Source."""
        return self._fields.columns

    def blocks(self) -> list[Block]:
        """The pieces of every file in turn; see Source."""
        root = self._folder if self.image_root is None else existing(self.image_root, _ROOT_KEY)
        reading = Reading(self._fields, str(root), self.allow_missing)
        refused = {problem.origin for problem in self._wrong_files}
        splits = _file_splits([self._shown(path) for path in self._files])
        num_rows = IMAGE_ROWS if self._names_images else None
        blocks: list[Block] = []
        for path, split in zip(self._files, splits, strict=True):
            name = self._shown(path)
            if name not in refused:
                pieces = self.pieces(path, num_rows)
                blocks += [RecordBlock(piece, name, split, reading) for piece in pieces]
        return blocks

    def findings(self) -> list[Problem]:
        """Files with other columns than the first, and fields that were left out; see Source."""
        first = self._shown(self._files[0])
        left_out = [
            Problem("field left out", first, f"field {name!r}: {reason}", WARNING)
            for name, reason in self._fields.left_out.items()
        ]
        return [*self._wrong_files, *left_out]

    @cached_property
    def _sample(self) -> Sample:
        return self.sample(self._files[0])

    @cached_property
    def _fields(self) -> Fields:
        return find_fields(self, self._sample, self._shown(self._files[0]))

    @cached_property
    def _wrong_files(self) -> list[Problem]:
        problems = []
        for path in self._files:
            names = self.names(path)
            missing = [] if names is None else [f for f in self._fields.used if f not in names]
            if names is not None and missing:
                lacks = ", ".join(map(repr, missing))
                detail = f"the file has no column {lacks} (it has: {', '.join(names)})"
                problems.append(Problem("wrong columns", self._shown(path), detail))
        return problems

    @property
    def _names_images(self) -> bool:
        images = [c.name for c in self._fields.columns if c.kind == "image"]
        values = [value for name in images for value in self._sample[self._fields.names[name]]]
        return any(
            isinstance(value, str) or (isinstance(value, Mapping) and not value.get("bytes"))
            for value in values
        )

    def _shown(self, path: Path) -> str:
        return shown(path.relative_to(self._folder).as_posix())


_ROOT_KEY = "source.image_root"


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    found = [
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(tuple(suffixes))
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    return sorted(found, key=lambda path: shown(path.relative_to(folder).as_posix()))


def _file_splits(names: Sequence[str]) -> list[str | None]:
    """The split that each file's path begins with, if they all begin with one."""
    matches = [_SPLIT.match(name) for name in names]
    words = [SPLIT_WORDS[match[1].lower()] if match else None for match in matches]
    if len(names) > 1 and None not in words:
        return list(words)
    return [None] * len(names)
