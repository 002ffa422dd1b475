"""Measure a model version on a split: a pool of processes measures blocks, then they are joined."""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
from torchmetrics import MetricCollection

from aiplat.cluster.pool import Pool, drained, open_predictor, plan_pool, read_split, sliced
from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import DataError
from aiplat.inference.config import InferenceConfig
from aiplat.inference.evaluate import (
    SplitMetrics,
    joined,
    label_translation,
    measure,
    split_metrics,
)
from aiplat.inference.predictor import Predictor
from aiplat.registry.versions import ModelVersion


@dataclass(frozen=True)
class EvaluateJob:
    """A model version that is to be measured; predictor: the model in this process."""

    version: ModelVersion
    predictor: Predictor
    config: InferenceConfig
    num_workers: int | Literal["auto"] = "auto"


def evaluate_split(
    job: EvaluateJob, dataset: DatasetVersion, split: str, watch: Callable[[int], None]
) -> SplitMetrics:
    """Measure the split, every row once; `watch` hears how many rows are done.

    Labels are matched by name, so that a dataset version that numbers them otherwise is measured
    right. Raises DataError where it has labels the model does not know, lacks a column or has no
    rows.
    """
    columns = job.predictor.task.columns
    for name in columns:
        dataset.info.column(name)
    if not dataset.num_rows(split):
        raise DataError(f"split {split!r} of dataset version {dataset.id} has no rows")
    pool = plan_pool(job.num_workers, job.config)
    work = _Work(job.version, job.config, pool, label_translation(dataset, job.predictor.info))
    parts = read_split(dataset, split, columns, pool.num_workers).map_batches(
        _Measure,
        fn_constructor_args=(work,),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        **pool.arguments,
    )

    def measured() -> tuple[list[MetricCollection], int]:
        found, done = [], 0
        for part in parts.iter_rows():
            found.append(pickle.loads(part["metrics"]))  # noqa: S301 - made by _Measure
            done += part["num_rows"]
            watch(done)
        return found, done

    blocks, num_rows = drained(measured)
    return split_metrics(joined(blocks), job.predictor.info, (dataset.id, split, num_rows))


@dataclass(frozen=True)
class _Work:
    version: ModelVersion
    config: InferenceConfig
    pool: Pool
    translate: Callable[[pa.Table], pa.Table]


class _Measure:
    """Runs in each process of the pool; a block lost with its process is measured anew, whole."""

    def __init__(self, work: _Work) -> None:
        self.work = work

    @cached_property
    def predictor(self) -> Predictor:
        # Not in the constructor: of a fault there Ray hands on nothing but the text.
        return open_predictor(self.work.version, self.work.config, self.work.pool)

    def __call__(self, block: pa.Table) -> Iterator[dict[str, Any]]:
        if block.num_rows:
            table = self.work.translate(block)
            metrics = measure(self.predictor, sliced(table, self.work.config.batch_size))
            yield {"num_rows": [block.num_rows], "metrics": [pickle.dumps(metrics)]}
