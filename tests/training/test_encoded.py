"""Splits that are encoded once give the batches that encoding each batch gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aiplat.datasets.synthetic import separable_table
from aiplat.tasks.build import BuildSource, build_task
from aiplat.tasks.rows import encode_rows
from aiplat.tasks.task import Task
from aiplat.training import encoded
from aiplat.training.encoded import EncodedSplits
from aiplat.training.local import tables_of
from tests.fakes import TinyTask

MODEL = {"_target_": "aiplat.models.tabular.TabularNetwork"}
TASK = {
    "_target_": "aiplat.tasks.tabular_classification.TabularClassification",
    "label": {"_target_": "aiplat.tasks.labels.LabelColumn"},
}
PLAN = [np.array([3, 0, 77]), np.array([], dtype=np.int64), np.array([5])]


@pytest.fixture
def table(tmp_path: Path) -> tuple[Task, Any]:
    version = separable_table(120).write(str(tmp_path), "table", num_val=10, num_test=10)
    task = build_task(MODEL, TASK, BuildSource(version.info, tmp_path))
    return task, tables_of(version, task)["train"].combine_chunks()


def test_a_batch_is_that_of_its_rows(table: tuple[Task, Any]) -> None:
    task, rows = table
    batches = EncodedSplits(task).batches("train", 100, rows.take, PLAN)
    assert batches is not None
    first, empty, last = batches
    for batch, positions in ((first, PLAN[0]), (last, PLAN[2])):
        expected = encode_rows(rows.take(positions), task)
        assert batch.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(batch[name], value)
    assert len(empty["row_id"]) == 0


def test_a_split_too_large_to_keep_is_left_to_the_loader(
    table: tuple[Task, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, rows = table
    monkeypatch.setattr(encoded, "_MAX_BYTES", 1000)
    assert EncodedSplits(task).batches("train", 100, rows.take, PLAN) is None


def test_tasks_whose_batches_matter_are_left_to_the_loader() -> None:
    assert EncodedSplits(TinyTask()).batches("train", 100, nothing, PLAN) is None


def nothing(_: Any) -> Any:
    raise AssertionError
