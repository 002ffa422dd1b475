from collections.abc import Callable
from pathlib import Path

import pytest

from aiplat.datasets import synthetic
from aiplat.datasets.images import image_fault
from aiplat.datasets.synthetic import SyntheticSet
from tests.datasets.pictures import rows_of

SETS = [
    synthetic.captioned_shapes,
    synthetic.shape_questions,
    synthetic.short_reviews,
    synthetic.separable_table,
]


@pytest.mark.parametrize("make", SETS)
def test_a_set_is_stored_whole_and_the_same_every_time(
    tmp_path: Path, make: Callable[..., SyntheticSet]
) -> None:
    version = make(60).write(str(tmp_path), "made", num_val=10, num_test=20)
    assert [version.num_rows(split) for split in ("train", "val", "test")] == [30, 10, 20]
    rows = rows_of(version)
    ids = [row["row_id"] for split in ("train", "val", "test") for row in rows[split]]
    assert ids == list(range(60))
    assert make(60).write(str(tmp_path), "made", 10, 20) == version
    assert make(60, seed=1).write(str(tmp_path), "made", 10, 20) != version


def test_the_answer_needs_the_image_and_the_question() -> None:
    data = synthetic.shape_questions(400)
    answers: dict[str, set[str]] = {}
    for row in data.table.to_pylist():
        assert image_fault(row["image"]["bytes"]) is None
        answers.setdefault(row["text"], set()).add(data.labels[row["label"]])
    assert answers == {
        "what shape is it?": set(synthetic.SHAPES),
        "what color is it?": set(synthetic.COLORS),
    }


def test_the_caption_is_the_class() -> None:
    data = synthetic.captioned_shapes(40)
    for row in data.table.to_pylist():
        assert data.labels[row["label"]] == row["text"]


def test_the_table_is_decided_by_its_columns_where_nothing_is_missing() -> None:
    data = synthetic.separable_table(500)
    for row in data.table.to_pylist():
        if None not in row.values():
            sign = -1 if row["kind"] == "flipped" else 1
            score = sign * ((row["width"] - 100) / 10 + 0.5 * row["height"])
            assert (score > 0) == (data.labels[row["label"]] == "yes")
