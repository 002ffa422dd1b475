"""Comma-separated files with a header; rows are numbered as a spreadsheet does, header first."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

from aiplat.datasets.formats.fields import Sample
from aiplat.datasets.formats.records import SAMPLE_ROWS, Piece, Record, RecordSource
from aiplat.datasets.source import Fault
from aiplat.errors import DataError

_PIECE_BYTES = 8 << 20
_PIECE_ROWS = 4096
_DELIMITERS = ",;\t|"
_LONGEST_CELL = 1 << 28


@dataclass(frozen=True)
class Cells:
    """The rows of a file between two offsets; the first one is row `first` of the file."""

    path: str
    header: tuple[str, ...]
    delimiter: str
    encoding: str
    start: int
    stop: int
    first: int

    def records(self, rows: Sequence[int] | None) -> Iterator[Record]:
        """Parse the rows that are not blank; see Piece."""
        with Path(self.path).open("rb") as stream:
            stream.seek(self.start)
            data = stream.read(self.stop - self.start)
        # Bytes of another encoding are kept apart here; the cell they are in becomes a fault.
        text = data.decode(self.encoding, "surrogateescape")
        parsed = enumerate(_reader(io.StringIO(text, newline="\n"), self.delimiter), self.first)
        filled = [(number, cells) for number, cells in parsed if cells]
        chosen = filled if rows is None else [filled[row] for row in rows]
        return (self._record(number, cells) for number, cells in chosen)

    def _record(self, number: int, cells: list[str]) -> Record:
        if len(cells) != len(self.header):
            detail = f"the row has {len(cells)} cells, the header has {len(self.header)}"
            return Record(number, faults=(Fault("wrong columns", detail),))
        return Record(number, dict(zip(self.header, cells, strict=True)))


@dataclass(kw_only=True)
class Csv(RecordSource):
    """Rows of CSV files; without an image column, all columns are used by the type of their cells.

    delimiter: null: the one of , ; | and tab that the header has most of.
    encoding: any that keeps ASCII as it is, such as latin-1.
    See RecordSource and FieldChoice for the other arguments.
    """

    delimiter: str | None = None
    encoding: str = "utf-8"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")

    def names(self, path: Path) -> list[str]:
        """The cells of the header; see RecordSource."""
        with path.open("rb") as stream:
            return list(self._header(path, stream)[0])

    def sample(self, path: Path) -> Sample:
        """The cells of the first rows; see RecordSource."""
        piece = next(iter(self.pieces(path, SAMPLE_ROWS)), None)
        records = [] if piece is None else [r for r in piece.records(None) if not r.faults]
        return {name: [record.values[name] for record in records] for name in self.names(path)}

    def pieces(self, path: Path, num_rows: int | None) -> Iterator[Piece]:
        """Runs of rows of a few MiB; see RecordSource."""
        most = num_rows or _PIECE_ROWS
        with path.open("rb") as stream:
            header, delimiter, first = self._header(path, stream)
            counted = _CountedLines(stream)
            begin = stream.tell()
            start = stop = begin
            number = first
            # A cell in quotes may hold line ends: only a parser knows where a row ends.
            for _ in _parsed(_reader(counted, delimiter), path, number):
                if number - first == most or stop - start >= _PIECE_BYTES:
                    yield Cells(str(path), header, delimiter, self.encoding, start, stop, first)
                    start, first = stop, number
                stop = begin + counted.num_bytes
                number += 1
        if stop > start:
            yield Cells(str(path), header, delimiter, self.encoding, start, stop, first)

    def _header(self, path: Path, stream: BinaryIO) -> tuple[tuple[str, ...], str, int]:
        """The header, the delimiter and the number of the row after it, where `stream` is left."""
        start = 3 if stream.read(3) == b"\xef\xbb\xbf" else 0
        stream.seek(start)
        counted = _CountedLines(stream)
        line = next(iter(counted), "")
        stream.seek(start)
        delimiter = self.delimiter or max(_DELIMITERS, key=line.count)
        counted = _CountedLines(stream)
        cells = next(_parsed(_reader(counted, delimiter), path, 1), None)
        stream.seek(start + counted.num_bytes)
        if not cells:
            raise DataError(f"{path} has no header row: its first line must name the columns")
        header = tuple(
            cell.encode("latin-1").decode(self.encoding, "replace").strip() for cell in cells
        )
        if len(set(header)) < len(header):
            raise DataError(f"{path}: the header names a column twice: {', '.join(header)}")
        return header, delimiter, 2


class _CountedLines:
    """The lines of a stream and how many bytes of it they were.

    Decoded byte by byte, for only quotes, delimiters and line ends matter here.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.num_bytes = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            self.num_bytes += len(line)
            yield line.decode("latin-1")


def _reader(lines: io.StringIO | _CountedLines, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_CELL)
    return iter(csv.reader(lines, delimiter=delimiter))


def _parsed(reader: Iterator[list[str]], path: Path, first: int) -> Iterator[list[str]]:
    number = first
    try:
        for cells in reader:
            yield cells
            number += 1
    except csv.Error as error:
        raise DataError(f"{path}:{number}: the row cannot be parsed: {error}") from error
