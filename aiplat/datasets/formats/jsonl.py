"""JSON Lines: one record a line, such as the image-text pairs `{"image": ..., "text": ...}`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from aiplat.datasets.formats.fields import Sample
from aiplat.datasets.formats.records import SAMPLE_ROWS, Piece, Record, RecordSource
from aiplat.datasets.source import Fault

_PIECE_BYTES = 8 << 20
_PIECE_ROWS = 4096


@dataclass(frozen=True)
class Lines:
    """The lines of a file between two offsets; the first one is line `first`."""

    path: str
    start: int
    stop: int
    first: int

    def records(self, rows: Sequence[int] | None) -> Iterator[Record]:
        """Parse the lines that are not blank; see Piece."""
        with Path(self.path).open("rb") as stream:
            stream.seek(self.start)
            lines = stream.read(self.stop - self.start).split(b"\n")
        filled = [(self.first + index, line) for index, line in enumerate(lines) if line.strip()]
        chosen = filled if rows is None else [filled[row] for row in rows]
        return (_record(number, line) for number, line in chosen)


def _record(number: int, line: bytes) -> Record:
    try:
        values = json.loads(line)
    except ValueError as error:
        return Record(number, faults=(Fault("bad row", f"the line is not JSON: {error}"),))
    if not isinstance(values, dict):
        detail = f"expected a JSON object, got {line[:40]!r}"
        return Record(number, faults=(Fault("bad row", detail),))
    return Record(number, values)


@dataclass(kw_only=True)
class Jsonl(RecordSource):
    """Records of JSON Lines files; only the fields that are asked for or found by name are used.

    See RecordSource and FieldChoice for the arguments.
    """

    fields: str | dict[str, str | None] | None = None
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    def sample(self, path: Path) -> Sample:
        """The fields of the first lines; see RecordSource."""
        with path.open("rb") as stream:
            lines = list(islice((line for line in stream if line.strip()), SAMPLE_ROWS))
        records = [_record(number, line) for number, line in enumerate(lines)]
        values: dict[str, list[Any]] = {name: [] for record in records for name in record.values}
        for record in records:
            for name, found in values.items():
                found.append(record.values.get(name))
        return values

    def pieces(self, path: Path, num_rows: int | None) -> Iterator[Piece]:
        """Runs of lines of a few MiB; see RecordSource."""
        most = num_rows or _PIECE_ROWS
        start = stop = 0
        first = number = 1
        with path.open("rb") as stream:
            for line in stream:
                if number - first == most or stop - start >= _PIECE_BYTES:
                    yield Lines(str(path), start, stop, first)
                    start, first = stop, number
                stop += len(line)
                number += 1
        if stop > start:
            yield Lines(str(path), start, stop, first)
