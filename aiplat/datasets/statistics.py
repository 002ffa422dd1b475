"""Running statistics of number and category columns, computed shard by shard and merged."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from aiplat.datasets.versions import Column


@dataclass
class Moments:
    """How many numbers, their mean, and the sum of their squared distances from it."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def merged(self, other: "Moments") -> "Moments":
        """Those of both sets of numbers together, by Chan's update."""
        count = self.count + other.count
        if count == 0:
            return Moments()
        gap = other.mean - self.mean
        return Moments(
            count=count,
            mean=self.mean + gap * other.count / count,
            squares=self.squares + other.squares + gap * gap * self.count * other.count / count,
        )

    @property
    def std(self) -> float:
        """The population standard deviation; 0 where nothing is known."""
        return float(np.sqrt(self.squares / self.count)) if self.count else 0.0


@dataclass
class Statistics:
    """What the rows seen so far say of each number and category column."""

    numbers: dict[str, Moments] = field(default_factory=dict)
    categories: dict[str, Counter[str]] = field(default_factory=dict)

    def merged(self, other: "Statistics") -> "Statistics":
        """Those of both sets of rows together."""
        numbers = {
            name: self.numbers.get(name, Moments()).merged(moments)
            for name, moments in other.numbers.items()
        }
        categories = {
            name: self.categories.get(name, Counter()) + counts
            for name, counts in other.categories.items()
        }
        return Statistics(self.numbers | numbers, self.categories | categories)


def _moments(values: "pa.ChunkedArray[Any]") -> Moments:
    known = values.drop_null().to_numpy()
    if len(known) == 0:
        return Moments()
    mean = float(known.mean())
    return Moments(len(known), mean, float(((known - mean) ** 2).sum()))


def measure(table: pa.Table, columns: Iterable[Column]) -> Statistics:
    """The statistics of one table's rows; missing values are left out."""
    statistics = Statistics()
    for column in columns:
        if column.kind == "number":
            statistics.numbers[column.name] = _moments(table.column(column.name))
        elif column.kind == "category":
            known: list[Any] = table.column(column.name).drop_null().to_pylist()
            statistics.categories[column.name] = Counter(known)
    return statistics


def described(columns: Sequence[Column], statistics: Statistics) -> tuple[Column, ...]:
    """The columns with their mean, std and categories filled in."""
    return tuple(_described(column, statistics) for column in columns)


def _described(column: Column, statistics: Statistics) -> Column:
    if column.kind == "number":
        moments = statistics.numbers.get(column.name, Moments())
        return replace(column, mean=moments.mean, std=moments.std)
    if column.kind == "category":
        counts = statistics.categories.get(column.name, Counter())
        # Ties are broken by name, so that the order does not depend on the order of the rows.
        ranked = sorted(counts, key=lambda value: (-counts[value], value))
        return replace(column, categories=tuple(ranked))
    return column
