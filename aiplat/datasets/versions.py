"""A dataset version: immutable, content-addressed Parquet shards and the manifest that names them.

The version is the hash of the rows and their splits, so the same bytes ingested twice are the same
version. Row ids are dense: rows are numbered 0..num_rows-1, the splits one after another in the
order train, val, test, so a set of rows is a bitmap. Image columns are
`struct<bytes: binary, path: string>`, as Hugging Face `datasets` reads them.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aiplat.errors import DataError
from aiplat.store import files

MANIFEST = "manifest.json"
FORMAT = 1
SPLITS = ("train", "val", "test")
ROW_ID = "row_id"
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True)
class Shard:
    """One Parquet file of a split, relative to the version's folder."""

    path: str
    num_rows: int
    sha256: str


@dataclass(frozen=True)
class Column:
    """What a column holds, and for tables what the training split says of its values.

    kind: `image`, `text`, `label`, `number` or `category`.
    mean, std: over the known values of a number in the training split.
    categories: the values of a category in the training split, most frequent first.
    """

    name: str
    kind: str
    mean: float | None = None
    std: float | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetInfo:
    """What models, tasks and endpoints must know of a dataset once its rows are out of reach."""

    columns: tuple[Column, ...]
    labels: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> tuple[Column, ...]:
        """The columns of one kind, in the dataset's order."""
        return tuple(column for column in self.columns if column.kind == kind)

    def column(self, name: str) -> Column:
        """One column; raises DataError that lists the columns there are."""
        for column in self.columns:
            if column.name == name:
                return column
        names = ", ".join(column.name for column in self.columns)
        raise DataError(f"the dataset has no column {name!r} (it has: {names})")

    def to_json(self) -> dict[str, Any]:
        """As plain values, for `from_json`."""
        return {"columns": [asdict(column) for column in self.columns], "labels": list(self.labels)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "DatasetInfo":
        """What `to_json` wrote."""
        columns = tuple(
            Column(**{**column, "categories": tuple(column["categories"])})
            for column in value["columns"]
        )
        return cls(columns=columns, labels=tuple(value["labels"]))


@dataclass(frozen=True)
class DatasetVersion:
    """The manifest of one version, and where its shards lie."""

    name: str
    version: str
    uri: str
    info: DatasetInfo
    splits: dict[str, tuple[Shard, ...]]
    conversion: dict[str, Any] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    num_skipped: int = 0

    @property
    def id(self) -> str:
        """How people and records name it: `name@version`."""
        return f"{self.name}@{self.version}"

    def num_rows(self, split: str) -> int:
        """Rows of a split."""
        return sum(shard.num_rows for shard in self.shards(split))

    def shards(self, split: str) -> tuple[Shard, ...]:
        """The shards of a split; raises DataError that lists the splits there are."""
        if split not in self.splits:
            has = ", ".join(self.splits)
            raise DataError(f"dataset version {self.id} has no split {split!r} (it has: {has})")
        return self.splits[split]

    def first_row_id(self, split: str) -> int:
        """The row ids of a split are consecutive; this is the first of them."""
        before = SPLITS[: SPLITS.index(split)]
        return sum(self.num_rows(earlier) for earlier in before if earlier in self.splits)

    def shard_uris(self, split: str) -> list[str]:
        """Where the shards of a split lie."""
        return [files.join(self.uri, shard.path) for shard in self.shards(split)]

    def shard_of(self, row_id: int) -> str:
        """The path of the shard that holds a row, relative to the version's folder."""
        first = 0
        for shard in (shard for split in SPLITS for shard in self.splits.get(split, ())):
            first += shard.num_rows
            if row_id < first:
                return shard.path
        raise DataError(f"dataset version {self.id} has no row of row_id {row_id}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What the block raises while it reads our shards becomes a DataError naming a damaged one.

        Other faults pass. Every shard is hashed to find it, which takes as long as reading them.
        """
        try:
            yield
        except Exception as error:
            fault = None if isinstance(error, DataError) else self._damage()
            if fault is None:
                raise
            raise DataError(
                f"dataset version {self.id}, {fault}; remove {self.uri} and ingest the data anew"
            ) from error

    def _damage(self) -> str | None:
        """The first shard that is not as it was written, and how it differs."""
        for shard in (shard for shards in self.splits.values() for shard in shards):
            try:
                data = files.read_bytes(files.join(self.uri, shard.path))
            except OSError as error:
                return f"file {shard.path} cannot be read: {error}"
            if hashlib.sha256(data).hexdigest() != shard.sha256:
                return f"file {shard.path} is damaged: it does not match its hash"
        return None

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """A DataError of the block about one of our rows says which version and file it is in."""
        try:
            yield
        except DataError as error:
            if error.row_id is None:
                raise
            where = f"dataset version {self.id}, file {self.shard_of(error.row_id)}"
            named = DataError(f"{where}, {error}")
            named.row_id = error.row_id
            raise named from error

    def read(self, split: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """One table a shard, in the order of their row ids; for reading without a cluster."""
        filesystem, _ = files.opened(self.uri)
        for uri in self.shard_uris(split):
            _, path = files.opened(uri)
            yield pq.read_table(path, columns=list(columns), filesystem=filesystem)

    def to_json(self) -> dict[str, Any]:
        """The manifest."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "info": self.info.to_json(),
            "splits": {
                split: [asdict(shard) for shard in shards] for split, shards in self.splits.items()
            },
            "conversion": self.conversion,
            "parents": list(self.parents),
            "num_skipped": self.num_skipped,
        }


def folder(storage: str, name: str) -> str:
    """Where the versions of a dataset lie."""
    return files.join(storage, "datasets", name)


def read_version(uri: str) -> DatasetVersion:
    """Open the version whose folder is `uri`."""
    value = files.read_json(files.join(uri, MANIFEST))
    if value["format"] != FORMAT:
        raise DataError(
            f"{uri} has manifest format {value['format']}, this aiplat reads {FORMAT}: "
            "ingest it anew"
        )
    return DatasetVersion(
        name=value["name"],
        version=value["version"],
        uri=uri,
        info=DatasetInfo.from_json(value["info"]),
        splits={
            split: tuple(Shard(**shard) for shard in shards)
            for split, shards in value["splits"].items()
        },
        conversion=value["conversion"],
        parents=tuple(value["parents"]),
        num_skipped=value["num_skipped"],
    )
