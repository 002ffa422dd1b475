"""A pool of processes that each hold a model, fed by Ray Data with rows."""

import gc
import logging
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import pyarrow as pa
import ray
import ray.data
import torch

from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import AiplatError, ClusterError
from aiplat.inference.config import InferenceConfig
from aiplat.inference.opening import Wanted, open_version
from aiplat.inference.predictor import Predictor
from aiplat.registry.versions import ModelVersion
from aiplat.store import files

T = TypeVar("T")

# Reading needs CPUs of its own: a pool that holds all of them waits for rows for ever.
_SHARE = 0.75
READ_CPUS = 0.1
# Each process holds the model once, so that few of them with a few threads each save memory.
_MAX_THREADS = 4
# Blocks for each process of the pool, so that none is idle at the end.
_BLOCKS_EACH = 4
# Ray adds it to the message of every fault.
_RAYS_ADVICE = "\nFailed to apply UDF transform"
_FAULT_LOGS = ("ray.data.exceptions", "ray.data._internal.execution.streaming_executor_state")


@dataclass(frozen=True)
class Pool:
    """The processes of a pool and what each is given; `threads` is what its model computes with."""

    num_workers: int
    cpus: float
    gpus: float
    threads: int

    @property
    def arguments(self) -> dict[str, Any]:
        """What `map_batches` is told of the pool."""
        return {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            "compute": ray.data.ActorPoolStrategy(size=self.num_workers),
        }


def plan_pool(num_workers: int | Literal["auto"], config: InferenceConfig) -> Pool:
    """One process a GPU, or one for every four CPUs of a node; or as many as asked for.

    Raises ClusterError where the cluster has fewer GPUs than the processes need.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [node["CPU"] for node in nodes if node.get("CPU")]
    gpus = sum(node.get("GPU", 0) for node in nodes)
    if not cpus:
        raise ClusterError("the cluster has no CPU to compute on: add a node")
    use_gpu = gpus >= 1 and config.device != "cpu"
    auto = int(gpus) if use_gpu else sum(math.ceil(count / _MAX_THREADS) for count in cpus)
    wanted = auto if num_workers == "auto" else num_workers
    if wanted < 1 or (use_gpu and wanted > gpus):
        raise ClusterError(
            f"num_workers={wanted}, each with a GPU, but the cluster has {int(gpus)}: lower it, or "
            "set inference.device=cpu"
        )
    if num_workers == "auto" and not use_gpu:
        # By node: a share of all CPUs together may fit on none.
        each = min(count / math.ceil(count / _MAX_THREADS) for count in cpus)
    else:
        each = min(sum(cpus) / wanted, max(cpus))
    threads = config.threads or max(1, int(each))
    return Pool(wanted, round(_SHARE * each, 2), 1.0 if use_gpu else 0.0, threads)


def open_predictor(version: ModelVersion, config: InferenceConfig, pool: Pool) -> Predictor:
    """The model on a process of the pool."""
    torch.set_num_threads(pool.threads)
    device = config.device if pool.gpus else "cpu"
    return open_version(version, Wanted(config.engine, config.precision, device, pool.threads))


def read_split(
    version: DatasetVersion, split: str, columns: tuple[str, ...], num_workers: int
) -> ray.data.Dataset:
    """The rows of a split, in enough blocks to keep the pool busy."""
    filesystem, _ = files.opened(version.uri)
    paths = [files.opened(uri)[1] for uri in version.shard_uris(split)]
    num_blocks = max(len(paths), min(version.num_rows(split), _BLOCKS_EACH * num_workers))
    return ray.data.read_parquet(
        paths,
        filesystem=filesystem,
        columns=list(columns),
        override_num_blocks=num_blocks,
        num_cpus=READ_CPUS,
    )


def sliced(table: pa.Table, num_rows: int) -> Iterator[pa.Table]:
    """The table in pieces of at most `num_rows`."""
    for start in range(0, table.num_rows, num_rows):
        yield table.slice(start, num_rows)


def drained(work: Callable[[], T]) -> T:
    """What `work` makes of the answers of a pool, whose processes end with it.

    Raises the fault that a process of the pool met as it was there, without Ray's wrapping. After
    a bug, which is raised as Ray wraps it, they end once nobody keeps that error.
    """
    try:
        with _without_accounts():
            return work()
    except Exception as error:
        fault = _ours(error)
        if fault is None:
            raise
    # Ray Data ends the processes by letting go of them, and the frames that its error holds do not.
    # It is the context of what is raised while it is handled; so ours is raised out here.
    gc.collect()
    message, *more = fault.args
    fault.args = (str(message).partition(_RAYS_ADVICE)[0], *more)
    raise fault.with_traceback(None)


@contextmanager
def _without_accounts() -> Iterator[None]:
    logs = [logging.getLogger(name) for name in _FAULT_LOGS]
    for log in logs:
        log.addFilter(_is_not_ours)
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(_is_not_ours)


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Of Ray's own accounts of a fault, pages long, those that we do not raise in plain words.

    Whatever keeps such a record keeps the processes of the pool too.
    """
    error = record.exc_info[1] if record.exc_info else sys.exc_info()[1]
    return _ours(error) is None


def _ours(error: BaseException | None) -> AiplatError | None:
    """The error of ours that it came of."""
    while error is not None:
        if type(error).__module__.startswith("aiplat.") and isinstance(error, AiplatError):
            return error
        error = getattr(error, "cause", None) or error.__cause__
    return None
