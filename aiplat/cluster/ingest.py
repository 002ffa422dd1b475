"""Ingest on the cluster: both passes of `datasets.convert` mapped over blocks by Ray Data."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import ray.data
from ray import cloudpickle

from aiplat.datasets import convert
from aiplat.datasets.config import IngestOptions
from aiplat.datasets.convert import IngestResult
from aiplat.datasets.source import Source
from aiplat.errors import AiplatError

Item = TypeVar("Item")
Result = TypeVar("Result")
# Told the name of a pass, how many of its items are done, and of how many.
Progress = Callable[[str, int, int], None]


def ingest(
    source: Source,
    storage: str,
    name: str,
    options: IngestOptions,
    origin: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> IngestResult:
    """As `datasets.convert.ingest`, with the same result, on the cluster that Ray is connected to.

    Every node must be able to read the source's files and to write to the storage.
    """
    run = partial(_on_cluster, progress or _silent)
    return convert.ingest(source, storage, name, options, run, origin)


def _silent(_stage: str, _done: int, _total: int) -> None:
    pass


def _on_cluster(
    progress: Progress,
    stage: str,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    /,
) -> Iterator[tuple[int, Result]]:
    """A convert.Runner: one Ray Data task an item; results come as they are done."""
    progress(stage, 0, len(items))
    if not items:
        return
    # Items and results are pickled by us: Ray Data would try to make Arrow columns of them.
    packed = [{"index": index, "item": cloudpickle.dumps(item)} for index, item in enumerate(items)]
    dataset = ray.data.from_items(packed, override_num_blocks=len(packed))
    rows = dataset.map(partial(_apply, function)).iter_rows()
    for done, row in enumerate(rows, 1):
        if row["failed"]:
            raise pickle.loads(row["result"])  # noqa: S301 - made by _apply
        progress(stage, done, len(items))
        yield row["index"], pickle.loads(row["result"])  # noqa: S301 - made by _apply


def _apply(function: Callable[[Any], Any], row: dict[str, Any]) -> dict[str, Any]:
    try:
        result, failed = function(pickle.loads(row["item"])), False  # noqa: S301 - made above
    except AiplatError as error:
        # Ray would wrap it in its own error and bury the message in a traceback.
        result, failed = error, True
    return {"index": row["index"], "failed": failed, "result": pickle.dumps(result)}
