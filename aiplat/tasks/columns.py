"""Which columns a task reads, and the values in them checked one by one."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from aiplat.datasets.versions import DatasetInfo
from aiplat.errors import ConfigError, DataError
from aiplat.tasks.task import Rows


def column_of_kind(info: DatasetInfo, kind: str, name: str | None) -> str:
    """The column called `name`, or where that is None the only one of its kind."""
    names = [column.name for column in info.of_kind(kind)]
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        return str(name)
    has = ", ".join(names) or "none"
    if name is None:
        raise ConfigError(
            f"task.{kind}: the dataset has {len(names)} {kind} columns ({has}): name one"
        )
    raise ConfigError(
        f"task.{kind} is {name!r}, which is no {kind} column of the dataset (it has: {has})"
    )


def num_rows(rows: Rows) -> int:
    """How many rows the columns hold."""
    return max((len(values) for values in rows.values()), default=0)


def values_of(rows: Rows, column: str) -> Sequence[Any]:
    """The column's values. Raises DataError where the rows have no such column."""
    if column not in rows:
        raise DataError(
            f"the rows have no column {column!r} (they have: {', '.join(rows) or 'none'})"
        )
    return rows[column]


def require_all(present: Tensor, column: str) -> None:
    """Raise DataError naming the first row without a value, where there is one."""
    if not bool(present.all()):
        row = int(present.int().argmin())
        raise DataError(f"column {column!r}, row {row}: the value is missing")


def misfit(column: str, row: int, expected: str, value: Any) -> DataError:
    """The error for a value of the wrong kind."""
    shown = f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return DataError(
        f"column {column!r}, row {row}: expected {expected}, got {shown} ({type(value).__name__})"
    )
