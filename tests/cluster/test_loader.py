"""Rows by their ids, out of shards that are read on their own; on a stand-in for the cluster."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayTaskError

from aiplat.cluster import loader
from aiplat.datasets.synthetic import separable_table
from aiplat.datasets.versions import ROW_ID, DatasetVersion
from aiplat.errors import DataError


class Task:
    """A task that runs when its result is fetched, once those it was handed have run."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments


class OneProcess:
    """As much of Ray as the loader uses, in this process."""

    def __init__(self) -> None:
        self.started: list[Task] = []

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def remote(self, function: Callable[..., Any]) -> "OneProcess":
        self.function = function
        return self

    def options(self, **chosen: Any) -> Any:
        starter = OneProcess.__new__(OneProcess)
        starter.__dict__ = self.__dict__
        starter.remote = self.start  # type: ignore[method-assign,assignment]
        return starter

    def start(self, *arguments: Any) -> list[Task]:
        task = Task(self.function, arguments)
        self.started.append(task)
        return [task, task]

    def get(self, task: Task) -> Any:
        *arguments, earlier = task.arguments
        try:
            return task.function(*arguments, earlier and None)[0]
        except DataError as error:
            raise RayTaskError("read", "traceback", error) from error


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> OneProcess:
    process = OneProcess()
    monkeypatch.setattr(loader, "ray", process)
    return process


@pytest.fixture
def version(tmp_path: Path) -> DatasetVersion:
    return separable_table(2000).write(str(tmp_path), "table", num_val=101, num_test=103)


def test_rows_come_in_the_order_asked_for_across_shards_and_splits(
    cluster: OneProcess, version: DatasetVersion
) -> None:
    columns = [column.name for column in version.info.columns]
    reader = loader.RowReader(loader.load_rows(version, columns))
    num_rows = sum(version.num_rows(split) for split in version.splits)
    row_ids = np.random.default_rng(0).permutation(num_rows)
    rows = reader.take(row_ids)
    assert rows.column(ROW_ID).to_pylist() == row_ids.tolist()
    assert rows.column_names == [ROW_ID, *columns]
    assert reader.take(row_ids[:0]).num_rows == 0
    # No more at once than there are CPUs: each waits for the one that long before it.
    started = cluster.started
    assert len(started) > 4
    assert [task.arguments[-1] for task in started] == [None, None, *started[:-2]]


def test_a_shard_that_is_not_what_the_manifest_says_is_named_when_its_rows_are_due(
    cluster: OneProcess, version: DatasetVersion
) -> None:
    first, *others = version.splits["train"]
    wrong = replace(first, num_rows=first.num_rows + 1)
    damaged = replace(version, splits={**version.splits, "train": (wrong, *others)})
    reader = loader.RowReader(loader.load_rows(damaged, ["label"]))
    with pytest.raises(DataError, match=f"{first.path} holds {first.num_rows} rows, the manifest"):
        reader.take(np.array([0]))
