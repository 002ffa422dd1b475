"""Rows of a table: standardised, with what is missing marked, and learned from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from aiplat.datasets.synthetic import separable_table
from aiplat.datasets.versions import Column, DatasetInfo
from aiplat.errors import ConfigError, DataError
from aiplat.tasks.build import BuildSource, build_task
from aiplat.tasks.labels import LabelColumn
from aiplat.tasks.tabular_classification import TabularClassification
from aiplat.tasks.task import Task
from tests.tasks.sets import LABEL, learn, task_for

MODEL = {"_target_": "aiplat.models.tabular.TabularNetwork", "widths": [32, 16]}
TASK = {
    "_target_": "aiplat.tasks.tabular_classification.TabularClassification",
    "label": LABEL,
}
INFO = DatasetInfo(
    (
        Column("age", "number", mean=40.0, std=10.0),
        Column("same", "number", mean=5.0, std=0.0),
        Column("home", "category", categories=("rent", "owner")),
        Column("status", "label"),
    ),
    ("bad", "good"),
)


def task(info: DatasetInfo = INFO) -> Task:
    return build_task(MODEL, TASK, BuildSource(info, Path("unused")))


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_network_learns_the_rule_but_not_shuffled_labels(tmp_path: Path, shuffled: bool) -> None:
    made = separable_table(600)
    found = learn(task_for(made, MODEL, TASK, tmp_path), made, 200, 12, shuffled)
    assert (found["auc"] > 0.85) != shuffled


def test_numbers_are_standardised_and_missing_ones_are_the_mean_and_marked() -> None:
    ages: Any
    for ages in ([60, None, 40.0], np.array([60, np.nan, 40])):
        batch = task().encode({"age": ages, "same": [5, 5, 5], "home": ["rent", None, "tent"]})
        assert batch["numbers"].tolist() == [[2, 0], [0, 0], [0, 0]]
        assert batch["missing"].tolist() == [[False, False], [True, False], [False, False]]
        assert batch["categories"].tolist() == [[1], [0], [0]]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("age", "60", "a number, got '60'"),
        ("age", True, "a number, got True"),
        ("age", float("inf"), "a finite number, got inf"),
        ("home", 3, "a text, got 3"),
    ],
)
def test_what_does_not_fit_is_named(column: str, value: object, expected: str) -> None:
    rows: dict[str, list[object]] = {"age": [1, 2], "same": [1, 2], "home": ["rent", "rent"]}
    rows[column] = [rows[column][0], value]
    with pytest.raises(DataError, match=f"column '{column}', row 1: expected {expected}"):
        task().encode(rows)
    with pytest.raises(DataError, match=f"no column '{column}'"):
        task().encode({name: values for name, values in rows.items() if name != column})


def test_the_fields_give_examples_from_the_data() -> None:
    age, same, home = task().inputs
    assert (age.example, same.example) == (40, 5)
    assert (home.example, home.choices) == ("rent", ("rent", "owner"))


def test_two_labels_are_judged_by_area_under_the_curve_and_more_by_accuracy() -> None:
    assert task().primary == "auc"
    assert task(DatasetInfo(INFO.columns, ("a", "b", "c"))).primary == "accuracy"


def test_a_dataset_without_numbers_and_categories_is_refused() -> None:
    info = DatasetInfo((Column("status", "label"),), ("bad", "good"))
    label = LabelColumn(info)
    with pytest.raises(ConfigError, match="no number and no category"):
        TabularClassification(nn.Identity(), info, label)
