"""Content hashes of rows and versions; they know no paths, no machines and no shard layout."""

import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from aiplat.datasets.versions import FORMAT, Column

DIGEST_BYTES = 32
VERSION_LENGTH = 16


@dataclass(frozen=True)
class RowDigests:
    """Three hashes a row.

    content: over the inputs (every column but the label): two rows alike in it are duplicates.
    group: the image's hash where there is one, else `content`: rows alike in it share a split.
    row: over the inputs and the label.
    """

    content: list[bytes]
    group: list[bytes]
    row: list[bytes]


def _number(value: float) -> bytes:
    return struct.pack("<d", value)


def _image(value: Mapping[str, Any]) -> bytes:
    # The name of an image file is no content: a renamed copy is a duplicate.
    return hashlib.sha256(value["bytes"]).digest()


_ENCODE: dict[str, Callable[[Any], bytes]] = {
    "image": _image,
    "number": _number,
    "text": str.encode,
    "category": str.encode,
}


def _encoded(column: Column, values: Sequence[Any]) -> list[bytes]:
    encode = _ENCODE[column.kind]
    parts = []
    for value in values:
        data = b"" if value is None else encode(value)
        # A length before each value: ("ab", "c") and ("a", "bc") differ, and so do None and "".
        parts.append(struct.pack("<q", -1 if value is None else len(data)) + data)
    return parts


def row_digests(
    table: pa.Table, columns: Sequence[Column], labels: Sequence[str | None]
) -> RowDigests:
    """Hash each row of `table`; `labels` are the names of the classes, one a row."""
    inputs = [column for column in columns if column.kind != "label"]
    encoded = [_encoded(column, table.column(column.name).to_pylist()) for column in inputs]
    if not encoded:
        encoded = [[b""] * table.num_rows]
    content = [hashlib.sha256(b"".join(parts)).digest() for parts in zip(*encoded, strict=True)]
    images = [
        parts for column, parts in zip(inputs, encoded, strict=False) if column.kind == "image"
    ]
    no_image = struct.pack("<q", -1)
    group = list(content)
    for parts in reversed(images):
        group = [
            other if part == no_image else part[-DIGEST_BYTES:]
            for part, other in zip(parts, group, strict=True)
        ]
    row = [
        hashlib.sha256(digest + (label or "").encode()).digest()
        for digest, label in zip(content, labels, strict=True)
    ]
    return RowDigests(content=content, group=group, row=row)


def version_hash(
    columns: Sequence[Column], labels: Sequence[str], splits: Mapping[str, bytes]
) -> str:
    """Name a version: `splits` holds the row digests of each split, joined in row order."""
    header = {
        "format": FORMAT,
        "columns": [[column.name, column.kind] for column in columns],
        "labels": list(labels),
        "splits": [[split, len(rows) // DIGEST_BYTES] for split, rows in splits.items()],
    }
    digest = hashlib.sha256(json.dumps(header, ensure_ascii=False).encode())
    for rows in splits.values():
        digest.update(rows)
    return digest.hexdigest()[:VERSION_LENGTH]
