"""How good a model is on a split of a dataset version: parts of it measured apart, then joined."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from torchmetrics import MetricCollection

from aiplat.datasets.versions import DatasetInfo, DatasetVersion
from aiplat.errors import DataError
from aiplat.inference.predictor import Predictor
from aiplat.registry.confusion import Confusion
from aiplat.tasks.rows import rows_of
from aiplat.training.prefetch import Prefetch

CONFUSION = "confusion"


@dataclass(frozen=True)
class SplitMetrics:
    """The metrics of a split, and for classifiers which classes are taken for which."""

    dataset: str
    split: str
    num_rows: int
    metrics: dict[str, float]
    confusion: Confusion | None = None


def measure(predictor: Predictor, tables: Iterable[pa.Table]) -> MetricCollection:
    """The metrics of the predictor's task over the rows of the tables, a batch each.

    The next batch is encoded while the model computes on the present one.
    """
    task = predictor.task
    metrics = task.metrics()
    with Prefetch(lambda table: task.encode(rows_of(table)), tables) as batches:
        for batch in batches:
            predictor.run(lambda moved: task.measure(moved, metrics), batch)
    return metrics


def joined(parts: Iterable[MetricCollection]) -> MetricCollection:
    """The metrics of all rows, from those of each part; there must be one part at least."""
    found = iter(parts)
    total = next(found)
    for part in found:
        for name, metric in total.items(keep_base=True, copy_state=True):
            metric.merge_state(part[name])
    return total


def split_metrics(
    metrics: MetricCollection, info: DatasetInfo, measured: tuple[str, str, int]
) -> SplitMetrics:
    """What the metrics say; measured: the dataset version's id, the split and its rows."""
    computed: dict[str, Any] = metrics.compute()
    numbers = {name: float(value) for name, value in computed.items() if value.numel() == 1}
    dataset, split, num_rows = measured
    confusion = Confusion.of(info.labels, computed.get(CONFUSION))
    return SplitMetrics(dataset, split, num_rows, numbers, confusion)


def label_translation(
    version: DatasetVersion, known: DatasetInfo
) -> Callable[[pa.Table], pa.Table]:
    """What turns the label indices of `version` into those of `known`, by the labels' names.

    Raises DataError where `version` has labels that are not known.
    """
    labels = version.info.labels
    if labels == known.labels:
        return _unchanged
    unknown = [label for label in labels if label not in known.labels]
    if unknown:
        raise DataError(
            f"dataset version {version.id} has labels that the model was not trained on: "
            f"{', '.join(unknown[:5])} (it knows: {', '.join(known.labels[:20])})"
        )
    indices = tuple(known.labels.index(label) for label in labels)
    return _Translation(indices, tuple(column.name for column in version.info.of_kind("label")))


@dataclass(frozen=True)
class _Translation:
    """Picklable, for it goes where the rows are."""

    indices: tuple[int, ...]
    columns: tuple[str, ...]

    def __call__(self, table: pa.Table) -> pa.Table:
        target = pa.array(self.indices, pa.int64())
        for place, name in enumerate(table.column_names):
            if name in self.columns:
                table = table.set_column(place, name, pc.take(target, table.column(name)))
        return table


def _unchanged(table: pa.Table) -> pa.Table:
    return table
