"""Answer many rows with a model version: Ray Data reads, a pool answers, Parquet files result."""

import pickle
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data

from aiplat.cluster.pool import (
    READ_CPUS,
    Pool,
    drained,
    open_predictor,
    plan_pool,
    read_split,
    sliced,
)
from aiplat.datasets.versions import ROW_ID, DatasetVersion
from aiplat.errors import ConfigError
from aiplat.inference.answers import ERROR, Answering, answer_schema
from aiplat.inference.config import InferenceConfig
from aiplat.inference.files import ORIGIN, FileRows
from aiplat.inference.predictor import Predictor
from aiplat.registry.versions import ModelVersion
from aiplat.store import files

# Readers of Parquet folders pass over names that begin so.
SUMMARY = "_summary.json"


@dataclass(frozen=True)
class BatchJob:
    """A model version that is to answer many rows.

    predictor: the model in this process, which says what it takes. target: the folder or URI of
    the answers, which must not exist yet.
    """

    version: ModelVersion
    predictor: Predictor
    config: InferenceConfig
    target: str
    num_workers: int | Literal["auto"] = "auto"


@dataclass(frozen=True)
class Summary:
    """What came of it. errors: the commonest reasons why a row has no answer, and of how many."""

    uri: str
    num_rows: int
    num_failed: int
    seconds: float
    errors: dict[str, int]


def predict_split(job: BatchJob, dataset: DatasetVersion, split: str) -> Summary:
    """Answer the rows of a split; `row_id` says to which row an answer is."""
    inputs = tuple(item.name for item in job.predictor.task_inputs)
    for name in inputs:
        dataset.info.column(name)
    pool = plan_pool(job.num_workers, job.config)
    rows = read_split(dataset, split, (ROW_ID, *inputs), pool.num_workers)
    return _write(job, pool, rows, pa.field(ROW_ID, pa.int64()))


def predict_files(job: BatchJob, blocks: Sequence[FileRows]) -> Summary:
    """Answer the rows of files; `origin` names the file, and its row, that an answer is to.

    Every node must be able to read the files.
    """
    pool = plan_pool(job.num_workers, job.config)
    packed = [{"block": pickle.dumps(block)} for block in blocks]
    listed = ray.data.from_items(packed, override_num_blocks=len(packed))
    rows = listed.map_batches(_read, batch_size=1, batch_format="pyarrow", num_cpus=READ_CPUS)
    return _write(job, pool, rows, pa.field(ORIGIN, pa.string()))


class _Answers:
    """Runs in each process of the pool."""

    def __init__(self, work: "_Work") -> None:
        self.work = work

    @cached_property
    def answering(self) -> Answering:
        # Not in the constructor: of a fault there Ray hands on nothing but the text.
        predictor = open_predictor(self.work.version, self.work.config, self.work.pool)
        schema = answer_schema(self.work.key, predictor.task_outputs, predictor.info)
        return Answering(predictor, schema, self.work.version.id)

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        yield from self.answering.answer(sliced(block, self.work.config.batch_size))


@dataclass(frozen=True)
class _Work:
    version: ModelVersion
    config: InferenceConfig
    pool: Pool
    key: "pa.Field[Any]"


def _write(job: BatchJob, pool: Pool, rows: ray.data.Dataset, key: "pa.Field[Any]") -> Summary:
    if files.exists(job.target):
        raise ConfigError(f"output={job.target} exists already: remove it, or choose another one")
    started = time.monotonic()
    work = _Work(job.version, job.config, pool, key)
    answers = rows.map_batches(
        _Answers,
        fn_constructor_args=(work,),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        **pool.arguments,
    )
    with files.draft_folder(job.target, SUMMARY) as draft:
        filesystem, path = files.opened(draft)
        drained(lambda: answers.write_parquet(path, filesystem=filesystem))
        errors = pq.read_table(path, columns=[ERROR], filesystem=filesystem).column(ERROR)
        reasons = Counter(error for error in errors.to_pylist() if error is not None)
        summary = Summary(
            uri=job.target,
            num_rows=len(errors),
            num_failed=reasons.total(),
            seconds=time.monotonic() - started,
            errors=dict(reasons.most_common(5)),
        )
        told = {
            "model": job.version.id,
            "num_rows": summary.num_rows,
            "num_failed": summary.num_failed,
        }
        files.write_json(files.join(draft, SUMMARY), told)
    return summary


def _read(batch: pa.Table) -> Iterator[pa.Table]:
    packed: list[Any] = batch.column("block").to_pylist()
    for block in packed:
        yield pickle.loads(block).read()  # noqa: S301 - packed above
