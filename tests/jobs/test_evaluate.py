from pathlib import Path

import pytest

from aiplat.datasets.synthetic import separable_table, short_reviews
from aiplat.errors import DataError
from aiplat.jobs.evaluate import find_data
from aiplat.jobs.schema import EvaluationData


def test_a_model_is_measured_on_what_it_was_trained_on_unless_told_otherwise(
    tmp_path: Path,
) -> None:
    storage = str(tmp_path)
    old = separable_table(60, seed=1).write(storage, "table", num_val=10, num_test=10)
    new = separable_table(60, seed=2).write(storage, "table", num_val=10, num_test=10)
    other = short_reviews(40).write(storage, "reviews", num_val=5, num_test=5)
    found = {
        "by itself": find_data(storage, EvaluationData(), old.id),
        "by its name": find_data(storage, EvaluationData(name="table"), old.id),
        "latest": find_data(storage, EvaluationData(version="latest"), old.id),
        "other": find_data(storage, EvaluationData(name="reviews"), old.id),
    }
    ids = {how: version.id for how, version in found.items()}
    assert ids == {"by itself": old.id, "by its name": old.id, "latest": new.id, "other": other.id}


def test_a_dataset_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset 'shapes'"):
        find_data(str(tmp_path), EvaluationData(), "shapes@0123")
