import hashlib
from typing import Any

import pyarrow as pa

from aiplat.datasets.checks import Selection, ordered_labels, select
from aiplat.datasets.config import SplitConfig
from aiplat.datasets.inspection import INSPECTED
from aiplat.datasets.source import Problem

NO_CUT = SplitConfig(val=0, test=0)


def inspected(*rows: dict[str, Any]) -> pa.Table:
    """Rows as the inspection notes them; `content` may be any text."""
    notes = []
    for index, row in enumerate(rows):
        content = hashlib.sha256(str(row.get("content", index)).encode()).digest()
        group = hashlib.sha256(row["group"].encode()).digest() if "group" in row else content
        notes.append(
            {
                "block": 0,
                "row": index,
                "origin": row.get("origin", f"row {index}"),
                "split": row.get("split"),
                "label": row.get("label"),
                "content": content,
                "group": group,
                "digest": content,
                "num_bytes": 10,
                "faults": row.get("faults", []),
            }
        )
    return pa.Table.from_pylist(notes, schema=INSPECTED)


def problem(selection: Selection, kind: str) -> Problem:
    (match,) = [problem for problem in selection.problems if problem.kind == kind]
    return match


def test_of_a_duplicate_across_splits_the_measured_copy_stays() -> None:
    table = inspected(
        {"content": "x", "split": "train"},
        {"content": "y", "split": "train"},
        {"content": "x", "split": "val"},
        {"content": "x", "split": "test"},
    )
    selection = select(table, None, NO_CUT)
    assert selection.rows == {"train": [1], "test": [3]}
    errors = {(error.origin, error.detail) for error in selection.errors}
    assert errors == {
        ("row 0", "the train row has the same content as the test row row 3"),
        ("row 2", "the val row has the same content as the test row row 3"),
    }


def test_duplicates_inside_a_split_are_kept_with_a_warning() -> None:
    table = inspected({"content": "x"}, {"content": "x"}, {"content": "y"}, {"content": "x"})
    selection = select(table, None, NO_CUT)
    assert selection.rows == {"train": [0, 1, 2, 3]}
    assert selection.errors == []
    detail = problem(selection, "duplicate inside a split").detail
    assert "2, such as row 1 = row 0, row 3 = row 0" in detail


def test_an_image_shown_in_two_splits_is_a_warning() -> None:
    table = inspected({"group": "cat.png"}, {"group": "cat.png", "split": "test"})
    selection = select(table, None, NO_CUT)
    assert selection.num_rows == 2
    assert "row 0 = row 1" in problem(selection, "image in two splits").detail


def test_a_label_outside_the_vocabulary_is_an_error_with_its_row() -> None:
    table = inspected({"label": "cat"}, {"label": "cow", "origin": "pets.csv:7"}, {"label": "dog"})
    selection = select(table, ("cat", "dog", "bird"), NO_CUT)
    assert selection.rows == {"train": [0, 2]}
    assert selection.labels == ("cat", "dog", "bird")
    (error,) = selection.errors
    assert (error.kind, error.origin) == ("unknown label", "pets.csv:7")
    assert "'cow' is not one of: cat, dog, bird" in error.detail
    assert problem(selection, "empty class").origin == "bird"


def test_a_class_that_loses_all_its_rows_is_named() -> None:
    fault = {"kind": "unreadable image", "detail": "truncated"}
    table = inspected({"label": "cat"}, {"label": "dog", "faults": [fault]})
    selection = select(table, None, NO_CUT)
    assert selection.labels == ("cat",)
    assert problem(selection, "empty class").origin == "dog"


def test_a_split_without_a_class_is_a_warning() -> None:
    table = inspected({"label": "cat"}, {"label": "dog"}, {"label": "cat", "split": "test"})
    selection = select(table, None, NO_CUT)
    assert "test has no row of 1 of 2 classes: dog" in (
        problem(selection, "split without a class").detail
    )
    assert selection.counts == {"train": {"cat": 1, "dog": 1}, "test": {"cat": 1, "dog": 0}}


def test_each_fault_of_a_row_is_a_problem() -> None:
    faults = [{"kind": "missing file", "detail": "a"}, {"kind": "wrong type", "detail": "b"}]
    selection = select(inspected({}, {"faults": faults}), None, NO_CUT)
    assert [(error.kind, error.origin) for error in selection.errors] == [
        ("missing file", "row 1"),
        ("wrong type", "row 1"),
    ]


def test_no_rows_at_all_is_an_error() -> None:
    selection = select(inspected(), None, SplitConfig())
    assert [error.kind for error in selection.errors] == ["empty split"]


def test_labels_that_are_whole_numbers_are_ordered_by_value() -> None:
    assert ordered_labels(["10", "9", "-1", None, "10"]) == ("-1", "9", "10")
    assert ordered_labels(["10", "9", "b"]) == ("10", "9", "b")
    assert ordered_labels(["--5", "5"]) == ("--5", "5")
